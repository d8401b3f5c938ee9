// What the two halves of the parser share: the tokens from here on, and how deep we are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lexer.hpp"
#include "parser.hpp"

namespace qjl::engine::jinja {

class TokenStream {
 public:
  using Kind = Token::Kind;
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  int line() const { return now().line; }
  bool is(Kind kind) const { return now().kind == kind; }
  bool is_sign(std::string_view text) const { return is(Kind::sign) && now().text == text; }
  bool is_name(std::string_view text) const { return is(Kind::name) && now().text == text; }
  bool next_is_name(std::string_view text) const {
    return at_ + 1 < tokens_.size() && tokens_[at_ + 1].kind == Kind::name && tokens_[at_ + 1].text == text;
  }
  bool next_is_sign(std::string_view text) const {
    return at_ + 1 < tokens_.size() && tokens_[at_ + 1].kind == Kind::sign && tokens_[at_ + 1].text == text;
  }

  Token take() {
    Token token = std::move(tokens_[at_]);
    if (at_ + 1 < tokens_.size()) {
      ++at_;
    } else {
      tokens_[at_] = token;  // the end stays
    }
    return token;
  }
  bool take_sign(std::string_view text) { return is_sign(text) && (take(), true); }
  bool take_name(std::string_view text) { return is_name(text) && (take(), true); }
  void want_sign(std::string_view text);
  void want_name(std::string_view text);
  void want(Kind kind, const char* wanted);
  std::string want_any_name(const char* wanted);
  [[noreturn]] void refuse_now(const std::string& wanted) const;  // names the token found

  // Counts a level of nesting while it lives.
  class Level {
   public:
    explicit Level(TokenStream& stream) : stream_(stream) {
      if (++stream_.level_ > kMaxNesting) refuse(stream_.line(), "nesting deeper than " + std::to_string(kMaxNesting), "less");
    }
    ~Level() { --stream_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    TokenStream& stream_;
  };

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int level_ = 0;
};

}  // namespace qjl::engine::jinja
