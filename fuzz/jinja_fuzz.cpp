// Any bytes as a chat template, with a conversation and variables: refused with qjl::Error, or a prompt whose pieces are not empty
// and alternate in kind; what the messages hold is never markup, and the work is bounded.
#include <string>

#include "chat.hpp"
#include "fuzz_input.hpp"
#include "qjl/error.hpp"

using namespace qjl::engine;
using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

// A character that no template of the corpus writes; the fuzzer may, then nothing is said about it.
constexpr const char* kMark = "\xE2\x98\x83";

ChatJson conversation(std::size_t kind) {
  const std::string mark = kMark;
  auto messages = ChatJson::array({chat_message("user", mark + "hi " + mark)});
  if (kind % 2 == 1) messages.insert(messages.begin(), chat_message("system", mark));
  if (kind % 4 >= 2) {
    const ChatJson function = {{"name", mark}, {"arguments", {{mark, {1, 2.5, nullptr, true, mark}}}}};
    messages.push_back({{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {{{"id", "1"}, {"function", function}}}}});
    messages.push_back(chat_message("tool", mark));
  }
  return messages;
}

void check(const std::vector<ChatPiece>& pieces, bool marked) {
  bool first = true;
  auto before = Tokenizer::Special::text;
  for (const ChatPiece& piece : pieces) {
    require(!piece.text.empty(), "pieces are not empty");
    require(first || piece.special != before, "neighbours differ in kind");
    const bool markup = piece.special == Tokenizer::Special::parse;
    if (!marked) require(!markup || piece.text.find(kMark) == std::string::npos, "words are never markup");
    before = piece.special;
    first = false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input(data, size);
  const std::size_t kind = input.below(256);
  const std::string source = input.rest();
  TokenizerData tokens;
  tokens.tokens = {"<s>", "</s>"};
  tokens.bos = 0;
  tokens.eos = 1;
  const ChatOptions options{.add_generation_prompt = kind % 8 < 4,
                            .variables = {{"tools", conversation(kind)}, {"x", 3}, {"y", kMark}}};
  try {
    const ChatTemplate form(source, tokens);
    const bool marked = source.find_first_of("\\\xE2") != std::string::npos;  // it may spell the mark itself
    check(form.render(conversation(kind), options), marked);
  } catch (const qjl::Error& error) {
    require(std::string(error.what()).starts_with("[chat"), "errors say where");
  }
  return 0;
}
