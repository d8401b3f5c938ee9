// GgufFile: the parsed parts of a mapped file. gguf_tokenizer.cpp has its tokenizer.
#include "gguf.hpp"

#include "gguf_parse.hpp"
#include "gguf_shards.hpp"
#include "mapped_file.hpp"

namespace qjl::engine {

struct GgufFile::State {
  std::string name;
  std::vector<std::unique_ptr<MappedFile>> maps;  // none when the caller keeps the bytes
  GgufParts parts;
};

GgufFile::GgufFile() : state_(std::make_unique<State>()) {}
GgufFile::~GgufFile() = default;
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile file;
  file.state_->name = path.string();
  std::vector<std::unique_ptr<MappedFile>>& maps = file.state_->maps;
  maps.push_back(std::make_unique<MappedFile>(path));
  file.state_->parts = parse_gguf(maps.front()->bytes(), file.state_->name);
  for (auto& other : open_other_shards(path, file.state_->parts)) maps.push_back(std::move(other));
  return file;
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string name) {
  GgufFile file;
  file.state_->parts = parse_gguf(bytes, name);
  file.state_->name = std::move(name);
  return file;
}

const std::string& GgufFile::name() const { return state_->name; }
std::span<const std::string> GgufFile::keys() const { return state_->parts.keys; }

const FileValue* GgufFile::find(std::string_view key) const {
  const auto at = state_->parts.values.find(key);
  return at == state_->parts.values.end() ? nullptr : &at->second;
}

void GgufFile::forget(std::span<const std::byte> part) const {
  for (const auto& map : state_->maps) map->forget(part);
}

std::span<const FileTensor> GgufFile::tensors() const { return state_->parts.tensors; }

const FileTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto at = state_->parts.tensor_index.find(name);
  return at == state_->parts.tensor_index.end() ? nullptr : &state_->parts.tensors[at->second];
}

}  // namespace qjl::engine
