// Names of tokens.
#include "token_text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "utf8.hpp"

namespace qjl::server {

std::string shown_text(const engine::Tokenizer& tokenizer, engine::Token token) {
  const std::string_view piece = tokenizer.piece(token);
  if (!piece.empty()) return std::string(piece);
  const auto& data = tokenizer.data();
  const auto idx = static_cast<std::size_t>(token);
  const bool control = idx < data.types.size() && data.types[idx] == engine::TokenizerData::Type::control;
  return control ? data.tokens.at(idx) : std::string();
}

std::string token_name(const engine::Tokenizer& tokenizer, engine::Token token) {
  std::string text = shown_text(tokenizer, token);
  if (engine::utf8_valid_prefix(text) == text.size()) return text;
  std::string name = "bytes:";
  for (const char c : text) {
    std::array<char, 5> byte{};
    std::snprintf(byte.data(), byte.size(), "\\x%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    name += byte.data();
  }
  return name;
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace qjl::server
