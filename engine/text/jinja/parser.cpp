// Statements. A block ends at the first tag that its opener waits for; what stands inside is counted as one level of nesting.
#include "parser.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "parse_expressions.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "token_stream.hpp"

namespace qjl::engine::jinja {

void TokenStream::want_sign(std::string_view text) {
  if (!take_sign(text)) refuse_now(std::string(text));
}

void TokenStream::want_name(std::string_view text) {
  if (!take_name(text)) refuse_now(std::string(text));
}

void TokenStream::want(Kind kind, const char* wanted) {
  if (!is(kind)) refuse_now(wanted);
  take();
}

std::string TokenStream::want_any_name(const char* wanted) {
  if (!is(Kind::name)) refuse_now(wanted);
  return take().text;
}

void TokenStream::refuse_now(const std::string& wanted) const {
  std::string found;
  switch (now().kind) {
    case Kind::data: found = "text"; break;
    case Kind::block_begin: found = "{%"; break;
    case Kind::block_end: found = "%}"; break;
    case Kind::variable_begin: found = "{{"; break;
    case Kind::variable_end: found = "}}"; break;
    case Kind::name:
    case Kind::string:
    case Kind::integer:
    case Kind::number:
    case Kind::sign: found = printable(now().text); break;
    case Kind::end: found = "the end of the template"; break;
  }
  refuse(line(), found, wanted);
}

namespace {

using Kind = Statement::Kind;
using TokenKind = Token::Kind;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(read_tokens(source)), expressions_(tokens_) {}

  Block whole() {
    Block block = statements({}, 1);
    if (!tokens_.is(TokenKind::end)) tokens_.refuse_now("text or a statement");
    return block;
  }

 private:
  // Up to a tag of the list, which is left to be taken (its {% is gone), or to the end where the list is empty.
  // line: where what it belongs to began.
  Block statements(std::initializer_list<std::string_view> ends, int line) {
    const TokenStream::Level level(tokens_);
    Block block;
    for (;;) {
      if (tokens_.is(TokenKind::data)) {
        block.push_back({.kind = Kind::data, .line = tokens_.line(), .name = tokens_.take().text});
      } else if (tokens_.is(TokenKind::variable_begin)) {
        block.push_back({.kind = Kind::output, .line = tokens_.take().line});
        block.back().value = expressions_.tuple();
        tokens_.want(TokenKind::variable_end, "}}");
      } else if (tokens_.is(TokenKind::block_begin)) {
        tokens_.take();
        if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return tokens_.is_name(end); })) return block;
        block.push_back(statement());
      } else {
        if (ends.size() > 0)
          refuse(tokens_.line(), "the end of the template in what began in line " + std::to_string(line), wanted(ends));
        return block;
      }
    }
  }

  static std::string wanted(std::initializer_list<std::string_view> ends) {
    std::string all;
    for (const std::string_view end : ends) all.append(all.empty() ? "" : " or ").append(end);
    return all;
  }

  void end_tag() { tokens_.want(TokenKind::block_end, "%}"); }

  Block body(std::initializer_list<std::string_view> ends) {
    const int line = tokens_.line();
    end_tag();
    return statements(ends, line);
  }
  Block body_to(std::string_view end) {
    Block block = body({end});
    tokens_.take();
    end_tag();
    return block;
  }

  Statement statement() {
    struct Tag {
      std::string_view name;
      Statement (Parser::*read)(int);
    };
    static constexpr std::array<Tag, 11> kTags = {{{"if", &Parser::branches},
                                                   {"for", &Parser::loop},
                                                   {"set", &Parser::set},
                                                   {"macro", &Parser::macro},
                                                   {"call", &Parser::call_block},
                                                   {"filter", &Parser::filter_block},
                                                   {"with", &Parser::with},
                                                   {"generation", &Parser::generation},
                                                   {"print", &Parser::print},
                                                   {"break", &Parser::stop},
                                                   {"continue", &Parser::skip}}};
    if (!tokens_.is(TokenKind::name)) tokens_.refuse_now("the name of a statement");
    for (const Tag& tag : kTags) {
      if (tokens_.is_name(tag.name)) return (this->*tag.read)(tokens_.take().line);
    }
    for (const char* other : {"extends", "include", "import", "from", "block", "autoescape", "do", "trans", "debug"}) {
      if (tokens_.is_name(other)) missing(tokens_.line());
    }
    std::string names;
    for (const Tag& tag : kTags) names.append(names.empty() ? "" : ", ").append(tag.name);
    tokens_.refuse_now("one of " + names);
  }

  [[noreturn]] void missing(int line) const {
    throw Error(ErrorKind::unsupported, "[chat template] line " + std::to_string(line) + ": found the statement " +
                                            printable(tokens_.now().text) + ", which templates of prompts have no use for");
  }

  Statement branches(int line) {
    Statement node{.kind = Kind::branches, .line = line};
    ExpressionPtr condition = expressions_.tuple(ExpressionParser::Ternary::no);
    for (;;) {
      Block block = body({"elif", "else", "endif"});
      node.branches.push_back({std::move(condition), std::move(block)});
      if (tokens_.take_name("elif")) {
        condition = expressions_.tuple(ExpressionParser::Ternary::no);
        continue;
      }
      if (tokens_.take_name("else")) {
        node.branches.push_back({nullptr, body({"endif"})});
      }
      tokens_.want_name("endif");
      end_tag();
      return node;
    }
  }

  Statement loop(int line) {
    Statement node{.kind = Kind::loop, .line = line};
    node.target = expressions_.target(false);
    tokens_.want_name("in");
    node.value = expressions_.tuple(ExpressionParser::Ternary::no);
    if (tokens_.take_name("if")) node.condition = expressions_.expression();
    node.recursive = tokens_.take_name("recursive");
    ++loops_;
    node.body = body({"else", "endfor"});
    --loops_;
    if (tokens_.take_name("else")) node.otherwise = body({"endfor"});
    tokens_.want_name("endfor");
    end_tag();
    return node;
  }

  Statement set(int line) {
    Statement node{.kind = Kind::set, .line = line};
    node.target = expressions_.target(true);
    if (tokens_.take_sign("=")) {
      node.value = expressions_.tuple();
      end_tag();
      return node;
    }
    node.kind = Kind::set_block;
    if (tokens_.take_sign("|")) node.value = expressions_.filter_chain(nullptr);
    node.body = body_to("endset");
    return node;
  }

  Parameters parameters() {
    Parameters found;
    tokens_.want_sign("(");
    while (!tokens_.is_sign(")")) {
      if (!found.names.empty()) tokens_.want_sign(",");
      if (tokens_.is_sign(")")) break;
      found.names.push_back(tokens_.want_any_name("the name of a parameter"));
      if (tokens_.take_sign("=")) {
        found.defaults.push_back(expressions_.expression());
      } else if (!found.defaults.empty()) {
        tokens_.refuse_now("a default: the parameter before has one");
      }
    }
    tokens_.want_sign(")");
    return found;
  }

  // The body of a macro or call block, and whether it asks for more than its parameters.
  void read_body(Statement& node, std::string_view end) {
    auto outside = std::exchange(expressions_.names_used, {});
    const int loops = std::exchange(loops_, 0);
    node.body = body_to(end);
    loops_ = loops;
    node.takes_more = expressions_.names_used.count("varargs") > 0;
    node.takes_named = expressions_.names_used.count("kwargs") > 0;
    node.takes_caller = expressions_.names_used.count("caller") > 0;
    expressions_.names_used = std::move(outside);
  }

  Statement macro(int line) {
    Statement node{.kind = Kind::macro, .line = line};
    node.name = tokens_.want_any_name("the name of a macro");
    node.parameters = parameters();
    read_body(node, "endmacro");
    return node;
  }

  Statement call_block(int line) {
    Statement node{.kind = Kind::call_block, .line = line};
    if (tokens_.is_sign("(")) node.parameters = parameters();
    node.value = expressions_.expression();
    if (node.value->kind != Expression::Kind::call) refuse(line, "a call block without a call", "{% call name(...) %}");
    read_body(node, "endcall");
    return node;
  }

  Statement filter_block(int line) {
    Statement node{.kind = Kind::filter_block, .line = line};
    node.value = expressions_.filter_chain(nullptr);
    node.body = body_to("endfilter");
    return node;
  }

  Statement with(int line) {
    Statement node{.kind = Kind::with, .line = line};
    while (!tokens_.is(TokenKind::block_end)) {
      if (!node.parameters.defaults.empty()) tokens_.want_sign(",");
      node.parameters.names.push_back(tokens_.want_any_name("a name"));
      tokens_.want_sign("=");
      node.parameters.defaults.push_back(expressions_.expression());
    }
    node.body = body_to("endwith");
    return node;
  }

  Statement generation(int line) {
    Statement node{.kind = Kind::scope, .line = line};
    const int loops = std::exchange(loops_, 0);
    node.body = body_to("endgeneration");
    loops_ = loops;
    return node;
  }

  Statement print(int line) {
    Statement node{.kind = Kind::output, .line = line};
    node.value = expressions_.tuple();
    end_tag();
    return node;
  }

  Statement stop(int line) { return leave(Kind::stop, line); }
  Statement skip(int line) { return leave(Kind::skip, line); }
  Statement leave(Kind kind, int line) {
    if (loops_ == 0) refuse(line, "break or continue", "it inside of a loop");
    end_tag();
    return {.kind = kind, .line = line};
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int loops_ = 0;  // that `break` and `continue` may leave
};

}  // namespace

Block parse(std::string_view source) { return Parser(source).whole(); }

}  // namespace qjl::engine::jinja
