// What a GGUF file says of its tokenizer.
#pragma once

#include "gguf.hpp"
#include "gguf_tokenizer.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

// Errors: bad_file on a missing or inconsistent vocabulary; unsupported on an unknown model or pre-tokenizer (lists the known
// ones).
TokenizerData tokenizer_data(const GgufFile& file);

}  // namespace qjl::engine
