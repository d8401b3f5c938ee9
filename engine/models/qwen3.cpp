// Qwen 3: norms of queries and keys instead of biases. Source: Qwen3 (arXiv 2505.09388).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kQwen3 = {.name = "qwen3", .query_key_norm = true};

}  // namespace qjl::engine
