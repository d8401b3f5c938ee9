// Lets tests/python ask the tokenizer and the chat formats. JSON on stdin and stdout; checks nothing.
//
//   encode MODEL text|parse   ["text", ...]                                  -> [[id, ...], ...]
//   bytes MODEL               raw bytes                                      -> [id, ...]
//   decode MODEL              [[id, ...], ...]                               -> ["hex", ...]
//   stream                    ["hex of a chunk", ...]                        -> ["text", ...], the last from finish()
//   chat MODEL|FORMAT         [{"messages": [{role, content}], "open": b}]   -> [[["text", parsed], ...], ...]
//   chat-ids MODEL            the same                                       -> [[id, ...], ...]
//   render                    [{"template", "messages", "open", "variables"}] -> pieces as of chat, or the error's text
//   info MODEL                                                               -> what the file says
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "chat.hpp"
#include "model_file.hpp"
#include "named_templates.hpp"
#include "qjl/error.hpp"
#include "tokenizer.hpp"

namespace {

using nlohmann::json;
using namespace qjl::engine;

std::string read_all() { return {std::istreambuf_iterator<char>(std::cin), {}}; }

std::string to_hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) out += {kDigits[static_cast<unsigned char>(c) >> 4], kDigits[static_cast<unsigned char>(c) & 15]};
  return out;
}

std::string from_hex(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

Tokenizer open_tokenizer(const std::string& path) { return Tokenizer(open_model_file(path)->tokenizer_data()); }

json encode(const Tokenizer& tokenizer, const std::string& special) {
  json out = json::array();
  for (const json& text : json::parse(read_all())) {
    out.push_back(
        tokenizer.encode(text.get<std::string>(), special == "parse" ? Tokenizer::Special::parse : Tokenizer::Special::text));
  }
  return out;
}

json decode(const Tokenizer& tokenizer) {
  json out = json::array();
  for (const json& ids : json::parse(read_all())) out.push_back(to_hex(tokenizer.decode(ids.get<std::vector<Token>>())));
  return out;
}

json stream() {
  Utf8Stream stream;
  json out = json::array();
  for (const json& chunk : json::parse(read_all())) out.push_back(stream.feed(from_hex(chunk.get<std::string>())));
  out.push_back(stream.finish());
  return out;
}

json pieces_of(const std::vector<ChatPiece>& pieces) {
  json out = json::array();
  for (const ChatPiece& piece : pieces) out.push_back({piece.text, piece.special == Tokenizer::Special::parse});
  return out;
}

ChatTemplate open_template(const std::string& name) {
  if (name.ends_with(".gguf")) return ChatTemplate::from_model(open_model_file(name)->tokenizer_data());
  return {named_template(name), TokenizerData{}};
}

// Noon of the fourth of March 2025.
std::tm fixed_time() {
  std::tm time{};
  time.tm_year = 125;
  time.tm_mon = 2;
  time.tm_mday = 4;
  time.tm_hour = 12;
  std::mktime(&time);
  return time;
}

// Templates with conversations: each a text as pieces, or the message that refuses it.
json render_all() {
  TokenizerData data;
  data.tokens = {"<s>", "</s>"};
  data.bos = 0;
  data.eos = 1;
  json out = json::array();
  for (const ChatJson& one : ChatJson::parse(read_all())) {
    try {
      const ChatTemplate form(one["template"].get<std::string>(), data);
      out.push_back(pieces_of(form.render(one["messages"], {one["open"].get<bool>(), one["variables"]}, fixed_time())));
    } catch (const qjl::Error& error) {
      out.push_back(std::string(error.what()));
    }
  }
  return out;
}

// Calls use(messages, options) for each conversation.
template <typename Use>
json chat(const Use& use) {
  json out = json::array();
  for (const ChatJson& conversation : ChatJson::parse(read_all())) {
    out.push_back(use(conversation["messages"], ChatOptions{.add_generation_prompt = conversation["open"].get<bool>()}));
  }
  return out;
}

json info(const std::string& path) {
  const TokenizerData data = open_model_file(path)->tokenizer_data();
  return {{"tokens", data.tokens.size()},
          {"pre", data.pre},
          {"bos", data.bos},
          {"eos", data.eos},
          {"unk", data.unk},
          {"add_bos", data.add_bos},
          {"ends", data.end_of_generation},
          {"prefix", data.add_space_prefix}};
}

json answer(const std::vector<std::string>& words) {
  const std::string& verb = words.at(0);
  if (verb == "encode") return encode(open_tokenizer(words.at(1)), words.at(2));
  if (verb == "bytes") return open_tokenizer(words.at(1)).encode(read_all(), Tokenizer::Special::text);
  if (verb == "decode") return decode(open_tokenizer(words.at(1)));
  if (verb == "stream") return stream();
  if (verb == "info") return info(words.at(1));
  if (verb == "chat") {
    const ChatTemplate form = open_template(words.at(1));
    return chat([&](const ChatJson& messages, const ChatOptions& options) { return pieces_of(form.render(messages, options)); });
  }
  if (verb == "chat-ids") {
    const Tokenizer tokenizer = open_tokenizer(words.at(1));
    const ChatTemplate form = ChatTemplate::from_model(tokenizer.data());
    return chat(
        [&](const ChatJson& messages, const ChatOptions& options) { return json(form.tokens(tokenizer, messages, options)); });
  }
  if (verb == "render") return render_all();
  throw std::invalid_argument("found verb " + verb + ", wanted one of the list at the top of the source");
}

}  // namespace

int main(int argc, char** argv) try {
  std::cout << answer({argv + 1, argv + argc}).dump() << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
