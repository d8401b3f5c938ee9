// open_other_shards: names by number, then the same parser for each file.
#include "gguf_shards.hpp"

#include <cstdio>
#include <optional>
#include <string>
#include <variant>

#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kMostShards = 99999;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[gguf] " + path.string() + ": found " + found + ", wanted " + wanted);
}

std::optional<std::int64_t> integer(const GgufParts& parts, const char* key) {
  const auto at = parts.values.find(key);
  if (at == parts.values.end()) return std::nullopt;
  if (const auto* number = std::get_if<std::uint64_t>(&at->second)) return static_cast<std::int64_t>(*number);
  const auto* number = std::get_if<std::int64_t>(&at->second);
  return number == nullptr ? std::nullopt : std::optional(*number);
}

std::string ending(std::int64_t number, std::int64_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05d-of-%05d.gguf", static_cast<int>(number + 1), static_cast<int>(count));
  return text;
}

void add_tensors(const std::filesystem::path& path, GgufParts&& shard, GgufParts& parts) {
  for (FileTensor& tensor : shard.tensors) {
    if (!parts.tensor_index.emplace(tensor.name, parts.tensors.size()).second)
      fail(path, "tensor " + tensor.name + " again", "once");
    parts.tensors.push_back(std::move(tensor));
  }
}

}  // namespace

std::vector<std::unique_ptr<MappedFile>> open_other_shards(const std::filesystem::path& path, GgufParts& parts) {
  const std::int64_t count = integer(parts, "split.count").value_or(1), number = integer(parts, "split.no").value_or(0);
  if (count <= 1) return {};
  if (count > kMostShards) fail(path, "split.count " + std::to_string(count), "at most " + std::to_string(kMostShards));
  if (number < 0 || number >= count) fail(path, "split.no " + std::to_string(number), "0 to " + std::to_string(count - 1));
  const std::string name = path.filename().string(), last = ending(number, count);
  if (!name.ends_with(last)) fail(path, "another name", "one that ends in " + last + ", as file " + std::to_string(number + 1));
  const std::string stem = name.substr(0, name.size() - last.size());
  if (number != 0) fail(path, "file " + std::to_string(number + 1), "the first, " + stem + ending(0, count));
  std::vector<std::unique_ptr<MappedFile>> maps;
  for (std::int64_t i = 1; i < count; ++i) {
    const std::filesystem::path other = path.parent_path() / (stem + ending(i, count));
    maps.push_back(std::make_unique<MappedFile>(other));
    GgufParts shard = parse_gguf(maps.back()->bytes(), other.string());
    if (integer(shard, "split.no") != i || integer(shard, "split.count") != count) {
      fail(other,
           "split.no " + std::to_string(integer(shard, "split.no").value_or(-1)) + " of " +
               std::to_string(integer(shard, "split.count").value_or(-1)),
           std::to_string(i) + " of " + std::to_string(count));
    }
    add_tensors(other, std::move(shard), parts);
  }
  const std::int64_t wanted = integer(parts, "split.tensors.count").value_or(std::ssize(parts.tensors));
  if (wanted != std::ssize(parts.tensors)) {
    fail(path, std::to_string(parts.tensors.size()) + " tensors in all files", std::to_string(wanted) + " (split.tensors.count)");
  }
  return maps;
}

}  // namespace qjl::engine
