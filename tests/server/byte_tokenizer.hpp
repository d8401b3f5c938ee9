// A tokenizer without a model: one token a byte, "ab" (256), and three control tokens, ChatML's (257, 258) and "</s>" (259).
#pragma once

#include <cstdio>

#include "tokenizer.hpp"

namespace qjl::server {

inline engine::Tokenizer make_byte_tokenizer() {
  using engine::TokenizerData;
  TokenizerData data;
  data.model = TokenizerData::Model::spm;
  for (unsigned i = 0; i < 256; ++i) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", i);
    data.tokens.emplace_back(name);
    data.types.push_back(TokenizerData::Type::byte);
  }
  data.tokens.emplace_back("ab");
  data.types.push_back(TokenizerData::Type::normal);
  for (const char* name : {"<|im_start|>", "<|im_end|>", "</s>"}) {
    data.tokens.emplace_back(name);
    data.types.push_back(TokenizerData::Type::control);
  }
  data.scores.assign(data.tokens.size(), 0.0f);
  data.unk = 0;
  data.eos = 259;
  return engine::Tokenizer(std::move(data));
}

}  // namespace qjl::server
