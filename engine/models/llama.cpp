// Llama, and Mistral and Mixtral, whose files bear its name: the plainest row. Files hold the rows of q and k so that rotated pairs
// are neighbours. Source: LLaMA (arXiv 2302.13971), Mixtral (2401.04088).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kLlama = {.name = "llama", .interleaved_pairs = true};

}  // namespace qjl::engine
