// GgufFile: the parsed parts of a mapped file. gguf_tokenizer.cpp has its tokenizer.
#include "gguf.hpp"

#include "gguf_parse.hpp"
#include "mapped_file.hpp"

namespace qjl::engine {

struct GgufFile::State {
  std::string name;
  std::unique_ptr<MappedFile> map;  // null when the caller keeps the bytes
  GgufParts parts;
};

GgufFile::GgufFile() : state_(std::make_unique<State>()) {}
GgufFile::~GgufFile() = default;
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;

GgufFile GgufFile::open(const std::filesystem::path& path) {
  GgufFile file;
  file.state_->name = path.string();
  file.state_->map = std::make_unique<MappedFile>(path);
  file.state_->parts = parse_gguf(file.state_->map->bytes(), file.state_->name);
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
  if (state_->map) state_->map->forget(part);
}

std::span<const FileTensor> GgufFile::tensors() const { return state_->parts.tensors; }

const FileTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto at = state_->parts.tensor_index.find(name);
  return at == state_->parts.tensor_index.end() ? nullptr : &state_->parts.tensors[at->second];
}

}  // namespace qjl::engine
