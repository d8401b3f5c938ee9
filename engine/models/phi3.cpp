// Phi 3 and 4: as llama, with q, k and v in one matrix and gate and up in another, which are looked for; LongRoPE, part of a head that
// turns and a window, where a file has them. Source: Phi-3 (arXiv 2404.14219).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kPhi3 = {.name = "phi3"};

}  // namespace qjl::engine
