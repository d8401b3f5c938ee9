// Tokens as clients see them: by name in lists of log-probabilities, by bytes elsewhere.
#pragma once

#include <string>
#include <string_view>

#include "tokenizer.hpp"

namespace qjl::server {

// The bytes of a token; of a control token the text that the vocabulary has for it ("<|im_end|>").
std::string shown_text(const engine::Tokenizer& tokenizer, engine::Token token);
// The same when it is whole UTF-8, else "bytes:\xE2\x82", as OpenAI names such tokens.
std::string token_name(const engine::Tokenizer& tokenizer, engine::Token token);

// Code points of UTF-8 text; bytes that are none count as one each.
std::size_t count_characters(std::string_view text);

}  // namespace qjl::server
