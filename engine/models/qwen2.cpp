// Qwen 2 and 2.5: biases of q, k and v, which are taken where a file has them. Their mixtures weigh the chosen experts as they stand
// among all, and have a shared one. Source: Qwen2 (arXiv 2407.10671).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kQwen2 = {.name = "qwen2"};
extern const Architecture kQwen2Moe = {.name = "qwen2moe", .routing = Routing::softmax_of_all};

}  // namespace qjl::engine
