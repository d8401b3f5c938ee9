// gpt-oss: mixtures whose gate is clamped, with biases everywhere; a sink for each head, which is a logit of the softmax; every second
// layer, from the first on, sees a window; YaRN whose blend begins and ends between pairs.
// Source: gpt-oss (arXiv 2508.10925; transformers modeling_gpt_oss).
#include "architecture.hpp"

namespace qjl::engine {

extern const Architecture kGptOss = {
    .name = "gpt-oss", .activation = Activation::clamped_swiglu, .full_attention_every = 2, .yarn_between_pairs = true};

}  // namespace qjl::engine
