// The one place where a measurement looks at what the model gave it: a figure made of NaN or infinities would be false without an error.
#pragma once

#include <span>
#include <string_view>

namespace qjl::engine {

// Errors: bad_file when a number is NaN or infinite: the weights of a sound model make none. `what` names them: "logits".
void require_finite(std::span<const float> numbers, std::string_view what);

}  // namespace qjl::engine
