// Writes small GGUF files in memory, by the format's words and nothing of the engine.
//
//   "GGUF", version, tensor count, key count | keys | tensor headers | padding | data
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace qjl_test {

using Bytes = std::vector<std::byte>;

template <typename T>
void put(Bytes& out, T number) {
  const std::size_t at = out.size();
  out.resize(at + sizeof(T));
  std::memcpy(out.data() + at, &number, sizeof(T));
}

inline void put_text(Bytes& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
}

inline constexpr std::array<char, 4> kMagic = {'G', 'G', 'U', 'F'};

class GgufBuilder {
 public:
  // A key of kind `kind` whose value is given as bytes.
  GgufBuilder& key(std::string_view name, std::uint32_t kind, const Bytes& value) {
    put_text(keys_, name);
    put<std::uint32_t>(keys_, kind);
    keys_.insert(keys_.end(), value.begin(), value.end());
    ++num_keys_;
    return *this;
  }
  template <typename T>
  GgufBuilder& number(std::string_view name, std::uint32_t kind, T value) {
    Bytes bytes;
    put(bytes, value);
    return key(name, kind, bytes);
  }
  GgufBuilder& u32(std::string_view name, std::uint32_t value) { return number(name, 4, value); }
  GgufBuilder& f32(std::string_view name, float value) { return number(name, 6, value); }
  GgufBuilder& boolean(std::string_view name, bool value) { return number<std::uint8_t>(name, 7, value ? 1 : 0); }
  GgufBuilder& text(std::string_view name, std::string_view value) {
    Bytes bytes;
    put_text(bytes, value);
    return key(name, 8, bytes);
  }
  template <typename T>
  GgufBuilder& numbers(std::string_view name, std::uint32_t kind, const std::vector<T>& values) {
    Bytes bytes;
    put<std::uint32_t>(bytes, kind);
    put<std::uint64_t>(bytes, values.size());
    for (const T value : values) put(bytes, value);
    return key(name, 9, bytes);
  }
  GgufBuilder& texts(std::string_view name, const std::vector<std::string>& values) {
    Bytes bytes;
    put<std::uint32_t>(bytes, 8);
    put<std::uint64_t>(bytes, values.size());
    for (const std::string& value : values) put_text(bytes, value);
    return key(name, 9, bytes);
  }

  // Innermost size first, as the file has it. The offset follows from the tensors before unless it is given.
  GgufBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& sizes, std::uint32_t type, const Bytes& data,
                      std::int64_t offset = -1) {
    put_text(headers_, name);
    put<std::uint32_t>(headers_, static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) put(headers_, size);
    put<std::uint32_t>(headers_, type);
    put<std::uint64_t>(headers_, offset < 0 ? data_.size() : static_cast<std::uint64_t>(offset));
    data_.insert(data_.end(), data.begin(), data.end());
    pad(data_);
    ++num_tensors_;
    return *this;
  }

  GgufBuilder& version(std::uint32_t number) { return version_ = number, *this; }
  GgufBuilder& alignment(std::uint32_t bytes) { return alignment_ = bytes, u32("general.alignment", bytes); }

  Bytes build() const {
    Bytes out;
    put(out, kMagic);
    put(out, version_);
    put<std::uint64_t>(out, num_tensors_);
    put<std::uint64_t>(out, num_keys_);
    out.insert(out.end(), keys_.begin(), keys_.end());
    out.insert(out.end(), headers_.begin(), headers_.end());
    pad(out);
    out.insert(out.end(), data_.begin(), data_.end());
    return out;
  }

 private:
  void pad(Bytes& out) const {
    while (out.size() % alignment_ != 0) out.push_back(std::byte{0});
  }

  Bytes keys_, headers_, data_;
  std::uint64_t num_keys_ = 0, num_tensors_ = 0;
  std::uint32_t version_ = 3, alignment_ = 32;
};

// `count` bytes 0, 1, 2, ...
inline Bytes counting_bytes(std::size_t count) {
  Bytes out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::byte>(i);
  return out;
}

// A byte-level BPE tokenizer: printable ASCII and its alphabet, a few merges, two control tokens and a user-defined one.
inline GgufBuilder small_bpe() {
  std::vector<std::string> tokens = {"<|im_start|>", "<|im_end|>", "<tool>"};
  std::vector<std::int32_t> types = {3, 3, 4};
  for (char c = '!'; c <= '~'; ++c) tokens.emplace_back(1, c);
  for (const char* token :
       {"\xC4\xA0", "\xC4\x8A", "he", "ll", "hell", "hello", "\xC4\xA0w", "or", "\xC4\xA0wor", "ld", "\xC3\xA9"}) {
    tokens.emplace_back(token);
  }
  types.resize(tokens.size(), 1);
  GgufBuilder out;
  out.text("general.architecture", "llama").text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "smollm");
  out.texts("tokenizer.ggml.tokens", tokens).numbers("tokenizer.ggml.token_type", 5, types);
  out.texts("tokenizer.ggml.merges", {"h e", "l l", "he ll", "hell o", "\xC4\xA0 w", "o r", "\xC4\xA0w or", "l d"});
  out.u32("tokenizer.ggml.bos_token_id", 0).u32("tokenizer.ggml.eos_token_id", 1).boolean("tokenizer.ggml.add_bos_token", false);
  out.text("tokenizer.chat_template", "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}");
  return out;
}

// A SentencePiece-style tokenizer with all byte tokens.
inline GgufBuilder small_spm() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types = {2, 3, 3};
  std::vector<float> scores(3, 0.0f);
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">");
    types.push_back(6);
    scores.push_back(0.0f);
  }
  float score = -1.0f;
  for (const char* token : {"\xE2\x96\x81\xE2\x96\x81", "he", "ll", "hell", "hello", "\xE2\x96\x81hello", "\xE2\x96\x81", "h", "e",
                            "l", "o", "w", "<s"}) {
    tokens.emplace_back(token);
    types.push_back(1);
    scores.push_back(score--);
  }
  GgufBuilder out;
  out.text("general.architecture", "llama").text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", tokens);
  out.numbers("tokenizer.ggml.token_type", 5, types).numbers("tokenizer.ggml.scores", 6, scores);
  return out;
}

}  // namespace qjl_test
