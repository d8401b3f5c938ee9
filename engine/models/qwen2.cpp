// Qwen 2 and 2.5: biases of q, k and v, which are taken where a file has them. Source: Qwen2 (arXiv 2407.10671).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kQwen2 = {.name = "qwen2"};

}  // namespace qjl::engine
