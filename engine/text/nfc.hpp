// Unicode normal form C: "e" + U+0301 becomes U+00E9. Qwen's vocabularies were trained on it.
#pragma once

#include <string>
#include <string_view>

namespace qjl::engine {

// Valid UTF-8 in, valid UTF-8 out. Linear: a run of more than 2048 bytes of combining marks is normalised in parts.
std::string to_nfc(std::string_view text);

}  // namespace qjl::engine
