// Qwen 3 and its mixtures: norms of queries and keys instead of biases. Source: Qwen3 (arXiv 2505.09388).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kQwen3 = {.name = "qwen3", .head_norms = HeadNorms::each_head};
extern const Architecture kQwen3Moe = {.name = "qwen3moe", .head_norms = HeadNorms::each_head};

}  // namespace qjl::engine
