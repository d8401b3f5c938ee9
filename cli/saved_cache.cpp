// A conversation is a note of the file, JSON text: its messages rendered again give the same tokens, which the cache then has.
#include "saved_cache.hpp"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "files.hpp"
#include "interrupt.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::cli {
namespace {

constexpr const char* kMessages = "messages";

std::string type_name(const CodecConfig& codec, const std::vector<std::pair<Code, Code>>& layer_codes) {
  return layer_codes.empty() ? cache_type_name(codec) : "a plan";
}

}  // namespace

std::optional<CacheFile> open_saved(const SavedCacheOptions& options, const CacheOptions& cache) {
  check_output(options.save);
  if (std::error_code error; std::filesystem::exists(options.save, error) && !std::filesystem::is_regular_file(options.save)) {
    throw Error(ErrorKind::io, "[options] --save-cache " + options.save + ": found a device or FIFO, wanted a plain file or none");
  }
  if (options.load.empty()) return std::nullopt;
  CacheFile file(options.load);
  if (cache.type.empty() && cache.key_type.empty() && cache.value_type.empty()) return file;
  const engine::CacheType wanted = cache_type(cache);
  const CacheConfig& found = file.config();
  if (cache_type_name(wanted.codec) != cache_type_name(found.codec) || wanted.layer_codes != found.layer_codes) {
    throw Usage("[options] --load-cache " + options.load + " is of cache type " + type_name(found.codec, found.layer_codes) +
                ", wanted " + type_name(wanted.codec, wanted.layer_codes) + " as the cache options say (or none of them)");
  }
  return file;
}

std::vector<engine::Token> joined(std::span<const engine::Token> before, std::span<const engine::Token> text,
                                  const engine::TokenizerData& data) {
  std::vector<engine::Token> all(before.begin(), before.end());
  const bool repeats = !all.empty() && !text.empty() && data.bos >= 0 && text.front() == data.bos;
  all.insert(all.end(), text.begin() + (repeats ? 1 : 0), text.end());
  return all;
}

engine::ChatJson saved_messages(const CacheFile& file) {
  auto messages = engine::ChatJson::array();
  const auto note = file.info().notes.find(kMessages);
  if (note == file.info().notes.end()) return messages;
  try {
    for (const auto& message : engine::parse_json(note->second)) {
      messages.push_back(engine::chat_message(message.at("role").get<std::string>(), message.at("content").get<std::string>()));
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::bad_file,
                std::string("[chat] the saved conversation is no list of messages with role and content: ") + error.what());
  }
  return messages;
}

void save_generator(const engine::Generator& generator, const SavedCacheOptions& options, const engine::ChatJson& messages) {
  if (options.save.empty()) return;
  std::map<std::string, std::string> notes;
  if (!messages.empty()) {
    notes[kMessages] = json_line(messages);
  }
  const InterruptsSpared spared;  // a process that ends in between would leave a part of the file
  check_interrupt();
  generator.save(options.save, std::move(notes));
  check_interrupt();
}

}  // namespace qjl::cli
