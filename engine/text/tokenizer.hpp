// Text to token ids and back: BPE on bytes (gpt2 family) or on characters, and SentencePiece's scores, from what a model file holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text_rules.hpp"

namespace qjl::engine {

using Token = std::int32_t;

// Everything that a model file says of its tokenizer. Each file format fills it in its own way.
struct TokenizerData {
  // BPE on bytes; on scores of SentencePiece; BPE on characters, where one without a token is its bytes as <0xNN>.
  enum class Model : std::uint8_t { bpe, spm, characters };
  enum class Type : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  Model model = Model::bpe;
  std::string pre;                  // pre-tokenizer name: gpt-2, smollm, llama-bpe, qwen2, tekken ...
  std::optional<TextRules> rules;   // instead of a name
  std::vector<std::string> tokens;  // as stored: byte-level alphabet (bpe) or U+2581 for space (others)
  std::vector<float> scores;        // spm
  std::vector<Type> types;
  std::vector<std::string> merges;  // bpe and characters, "left right", best first
  // Special tokens that are not taken as plainly as they are written, by token.
  struct Added {
    Token token;
    bool strips_left = false, strips_right = false;  // the white space beside it belongs to it
    bool is_normal = false;                          // looked for in the text's normal form; user-defined ones only
  };
  std::vector<Added> added;
  Token bos = -1, eos = -1, unk = -1;
  std::vector<Token> end_of_generation;  // eos, eot and their like
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = false;
  std::string chat_template;          // Jinja text, may be empty
  std::string tool_template;          // the same for conversations with tools, where a file has one of its own
  std::vector<std::string> warnings;  // what a file lacks or has wrong, and what was done instead
};

class Tokenizer {
 public:
  // Whether special tokens written in the text ("<|im_end|>") become their ids. User text is always `text`.
  enum class Special : std::uint8_t { text, parse };

  explicit Tokenizer(TokenizerData data);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  const TokenizerData& data() const;
  std::int64_t vocab_size() const;

  // Ids of UTF-8 text, without bos or eos. Bytes that are not UTF-8 are kept where the vocabulary has a token for them. Equal to
  // Hugging Face tokenizers on the same vocabulary (BPE; normal form C for qwen2), except for code points newer than the Unicode
  // tables of PCRE2, and to sentencepiece (SPM). Errors: invalid_argument on a text of more than 1 GiB.
  std::vector<Token> encode(std::string_view text, Special special) const;

  // Stretches that are one text: the ids are those of the joined string, but a special token counts only inside stretches that
  // are parsed. This is how a chat template and the user's words go together.
  struct TextPiece {
    std::string text;
    Special special;
  };
  std::vector<Token> encode(std::span<const TextPiece> pieces) const;

  // Raw bytes of a token: may be a part of a UTF-8 character. Control tokens give "" .
  std::string_view piece(Token token) const;
  // A control or unknown token as it is written ("<|im_end|>"); all others, which piece() tells, give "".
  // Errors of both: invalid_argument outside the vocabulary.
  std::string_view special_piece(Token token) const;
  // The pieces in a row: with add_space_prefix the space that encode() put first is there.
  std::string decode(std::span<const Token> tokens) const;

  bool is_end_of_generation(Token token) const;
  Token find(std::string_view token_text) const;  // -1 when absent

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Joins pieces to whole UTF-8 characters for streaming: feed() returns what is complete.
class Utf8Stream {
 public:
  std::string feed(std::string_view bytes);
  std::string finish();  // what is left, with U+FFFD for an incomplete character

 private:
  std::string pending_;
};

}  // namespace qjl::engine
