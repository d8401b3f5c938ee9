// tokenizer.json of the library tokenizers -> TokenizerData: the model (BPE on bytes or on characters), its tokens and merges, and the
// parts that stand around it.
//
//   normalizer -> pre_tokenizer -> model -> post_processor; added_tokens are cut out before
//
// Parts that these families do not use are refused by name. Source: the library's documentation and its behaviour (0.23).
#pragma once

#include <string>
#include <string_view>

#include "read_json.hpp"
#include "text_rules.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

// Without what other files of a folder say: bos, eos and unk, chat_template, ends. add_bos and add_eos, and the tokens that are added,
// are those of the post_processor. Errors: bad_file, unsupported (name the part, what was found and what was wanted).
TokenizerData parse_tokenizer_json(std::string_view text, const std::string& name);

// normalizer and pre_tokenizer of the file. by_bytes: whether the pre-tokenizer ends in ByteLevel (tokenizer_rules.cpp).
struct HfTextRules {
  TextRules rules;
  bool by_bytes = false;
};
HfTextRules read_text_rules(const FileJson& file, const std::string& name);

// The tokens before and after a text, -1 for none. Errors: unsupported on more than one (tokenizer_rules.cpp).
struct HfTemplate {
  bool is_there = false;
  Token before = -1, after = -1;
};
HfTemplate read_template(const FileJson& file, const std::string& name);

}  // namespace qjl::engine
