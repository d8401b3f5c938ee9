// Any bytes as text: encode and decode on small vocabularies that have every byte give the text back, or its normal form; chat
// prompts keep the number of their control tokens whatever the words are; a stream of chunks gives valid UTF-8, the same as in one
// piece.
#include "tokenizer.hpp"

#include <array>

#include "byte_alphabet.hpp"
#include "chat.hpp"
#include "fuzz_input.hpp"
#include "named_templates.hpp"
#include "nfc.hpp"
#include "spm.hpp"
#include "utf8.hpp"

using namespace qjl::engine;
using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;
using Type = TokenizerData::Type;

namespace {

void add(TokenizerData& data, std::string text, Type type, float score = 0.0f) {
  data.tokens.push_back(std::move(text));
  data.types.push_back(type);
  data.scores.push_back(score);
}

Tokenizer bpe(const char* pre) {
  TokenizerData data;
  data.pre = pre;
  add(data, "<|im_start|>", Type::control);
  add(data, "<|im_end|>", Type::control);
  add(data, "<tool>", Type::user_defined);
  for (int byte = 0; byte < 256; ++byte) add(data, std::string(alphabet_character(static_cast<unsigned char>(byte))), Type::normal);
  for (const char* merge : {"a a", "aa aa", "a b", "ab ab", "\xC4\xA0 a", "\xC4\xA0 \xC4\xA0", "0 0", "\xC3\x83 \xC2\xA9"}) {
    const std::string_view text = merge;
    const std::size_t space = text.find(' ');
    add(data, std::string(text.substr(0, space)).append(text.substr(space + 1)), Type::normal);
    data.merges.emplace_back(merge);
  }
  data.bos = 0;
  data.eos = 1;
  return Tokenizer(std::move(data));
}

Tokenizer spm(bool add_space_prefix) {
  TokenizerData data;
  data.model = TokenizerData::Model::spm;
  data.add_space_prefix = add_space_prefix;
  add(data, "<unk>", Type::unknown);
  add(data, "<|im_start|>", Type::control);
  add(data, "<|im_end|>", Type::control);
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) add(data, std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">", Type::byte);
  float score = 0;
  for (const char* text : {"aa", "aaaa", "ab", "abab", "\xE2\x96\x81\xE2\x96\x81",
                           "\xE2\x96\x81"
                           "a",
                           "\xE2\x96\x81", "a", "b", "\xC3\xA9"}) {
    add(data, text, Type::normal, score--);
  }
  return Tokenizer(std::move(data));
}

std::string with_spaces(std::string text) {
  for (std::size_t at = text.find(kSpmSpace); at != std::string::npos; at = text.find(kSpmSpace, at))
    text.replace(at, kSpmSpace.size(), " ");
  return text;
}

// In normal form C where it is UTF-8; other bytes stay.
std::string normal_form(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t valid = utf8_valid_prefix(text), end = std::min(valid + 1, text.size());
    out.append(to_nfc(text.substr(0, valid))).append(text.substr(valid, end - valid));
    text.remove_prefix(end);
  }
  return out;
}

// qwen2 tokens are those of the text in normal form, but not across a token such as <tool>. In long texts a run of marks is
// normalised in parts (nfc.hpp).
void normal_round_trip(const std::string& text, const std::string& decoded) {
  constexpr std::size_t kOnePart = 1024;
  if (text.size() <= kOnePart)
    require(normal_form(decoded) == normal_form(text), "decode(encode(text)) has the text's normal form");
}

void round_trip(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<Token> ids = tokenizer.encode(text, Tokenizer::Special::text);
  for (const Token id : ids)
    require(tokenizer.data().types[static_cast<std::size_t>(id)] != Type::control, "text has no control tokens");
  const bool is_spm = tokenizer.data().model == TokenizerData::Model::spm;
  const std::string prefix = tokenizer.data().add_space_prefix && !text.empty() ? " " : "";
  if (tokenizer.data().pre == "qwen2") {
    normal_round_trip(text, tokenizer.decode(ids));
  } else {
    require(tokenizer.decode(ids) == (is_spm ? prefix + with_spaces(text) : text), "decode(encode(text)) is the text");
  }
  tokenizer.decode(tokenizer.encode(text, Tokenizer::Special::parse));
}

void chat(const Tokenizer& tokenizer, FuzzInput& input) {
  auto messages = ChatJson::array();
  const std::size_t count = input.below(5);
  for (std::size_t i = 0; i < count; ++i) {
    messages.push_back(chat_message(i % 2 == 0 ? "user" : "assistant", input.text(input.below(200))));
  }
  for (const char* name : {"llama2", "llama3", "mistral", "mistral-tekken", "gemma", "phi3", "raw"}) {
    ChatTemplate(named_template(name), tokenizer.data()).tokens(tokenizer, messages);
  }
  const std::vector<Token> ids = ChatTemplate(named_template("chatml"), tokenizer.data()).tokens(tokenizer, messages);
  std::size_t starts = 0;
  for (const Token id : ids) starts += id == tokenizer.find("<|im_start|>") ? 1 : 0;
  require(starts == count + 1, "words open no turn");
}

void stream(FuzzInput& input) {
  const std::string text = input.text(input.below(400));
  Utf8Stream whole, parts;
  std::string at_once = whole.feed(text);
  at_once += whole.finish();
  std::string in_parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = 1 + input.below(7);
    in_parts += parts.feed(std::string_view(text).substr(at, size));
    at += size;
  }
  in_parts += parts.finish();
  require(at_once == in_parts, "a stream does not depend on its chunks");
  require(utf8_valid_prefix(at_once) == at_once.size(), "a stream gives valid UTF-8");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<Tokenizer, 7> tokenizers = {bpe("gpt-2"),  bpe("smollm"), bpe("llama-bpe"), bpe("qwen2"),
                                                      bpe("tekken"), spm(true),     spm(false)};
  FuzzInput input(data, size);
  const Tokenizer& tokenizer = tokenizers[input.below(tokenizers.size())];
  stream(input);
  chat(tokenizer, input);
  round_trip(tokenizer, input.rest());
  return 0;
}
