// OLMo 2 and 3: norms after a branch and none before; one norm over all heads of queries, and of keys. OLMo 3, whose files bear the
// same name, has a window in three layers of four, which turn unscaled. Source: OLMo 2 (arXiv 2501.00656), OLMo 3 (transformers).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kOlmo2 = {.name = "olmo2",
                                    .head_norms = HeadNorms::all_heads,
                                    .norms = Norms::post,
                                    .full_attention_every = 4,
                                    .plain_rope_in_window = true};

}  // namespace qjl::engine
