// The tokenizer of a folder: tokenizer.json, and what the files beside it add.
//
//   tokenizer_config.json     bos_token, eos_token, unk_token, add_bos_token, add_eos_token, chat_template
//   special_tokens_map.json   the first three, where the other does not say
//   generation_config.json    eos_token_id: the tokens that end an answer
//   chat_template.jinja       before that of tokenizer_config.json
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "read_json.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

// What config.json says.
struct HfTokenizerContext {
  std::vector<std::int64_t> ends;  // eos_token_id
  std::int64_t vocab_size = 0;     // rows of the embedding: the vocabulary is filled up to it with tokens that no text has
};

// Errors: io without tokenizer.json; bad_file and unsupported as of parse_tokenizer_json and of the other files.
TokenizerData read_hf_tokenizer(const std::filesystem::path& folder, const HfTokenizerContext& context);

// The other files' part, over what tokenizer.json says; null for one that is not there.
struct HfTokenizerFiles {
  FileJson tokenizer_config, special_tokens_map, generation_config;
  std::string chat_template;
};
void add_tokenizer_files(const HfTokenizerFiles& files, const HfTokenizerContext& context, TokenizerData& data);

}  // namespace qjl::engine
