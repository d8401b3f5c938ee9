// GgufFile: the parsed parts of a mapped file and typed reads of its metadata.
#include "gguf.hpp"

#include <cmath>
#include <limits>
#include <optional>

#include "gguf_parse.hpp"
#include "gguf_reader.hpp"
#include "mapped_file.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

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

namespace {

std::string kind_name(const GgufValue& value) {
  constexpr const char* kNames[] = {"an unsigned integer", "an integer",       "a number", "a boolean", "a text", "integers",
                                    "an array of numbers", "an array of texts"};
  static_assert(std::size(kNames) == std::variant_size_v<GgufValue>);
  return kNames[value.index()];
}

[[noreturn]] void wrong(const GgufFile& file, std::string_view key, const std::string& found, std::string_view wanted) {
  throw Error(ErrorKind::bad_file,
              "[gguf] " + file.name() + ": key " + printable(key) + ": found " + found + ", wanted " + std::string(wanted));
}

// The value as T: absent is null, another kind is an error.
template <typename T>
const T* find_as(const GgufFile& file, std::string_view key, std::string_view wanted) {
  const GgufValue* value = file.find(key);
  if (value == nullptr) return nullptr;
  const T* typed = std::get_if<T>(value);
  if (typed == nullptr) wrong(file, key, kind_name(*value), wanted);
  return typed;
}

template <typename T>
const T& require(const GgufFile& file, std::string_view key, const T* value, std::string_view wanted) {
  if (value == nullptr) wrong(file, key, "no such key", wanted);
  return *value;
}

std::optional<std::int64_t> find_integer(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* plain = std::get_if<std::int64_t>(value)) return *plain;
  const auto* number = std::get_if<std::uint64_t>(value);
  if (number == nullptr) wrong(file, key, kind_name(*value), "an integer");
  if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    wrong(file, key, std::to_string(*number), "an integer below 2^63");
  }
  return static_cast<std::int64_t>(*number);
}

std::optional<double> find_number(const GgufFile& file, std::string_view key) {
  const GgufValue* value = file.find(key);
  if (value == nullptr) return std::nullopt;
  const auto* number = std::get_if<double>(value);
  if (number == nullptr) {
    if (value->index() > 1) wrong(file, key, kind_name(*value), "a number");
    return static_cast<double>(*find_integer(file, key));
  }
  if (!std::isfinite(*number)) wrong(file, key, std::to_string(*number), "a finite number");
  return *number;
}

}  // namespace

const std::string& GgufFile::name() const { return state_->name; }
std::span<const std::string> GgufFile::keys() const { return state_->parts.keys; }

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto at = state_->parts.values.find(key);
  return at == state_->parts.values.end() ? nullptr : &at->second;
}

std::int64_t GgufFile::integer(std::string_view key) const {
  const auto found = find_integer(*this, key);
  return require(*this, key, found ? &*found : nullptr, "an integer");
}
std::int64_t GgufFile::integer_or(std::string_view key, std::int64_t absent) const {
  return find_integer(*this, key).value_or(absent);
}

double GgufFile::number(std::string_view key) const {
  const auto found = find_number(*this, key);
  return require(*this, key, found ? &*found : nullptr, "a number");
}
double GgufFile::number_or(std::string_view key, double absent) const { return find_number(*this, key).value_or(absent); }

bool GgufFile::boolean_or(std::string_view key, bool absent) const {
  const bool* found = find_as<bool>(*this, key, "a boolean");
  return found == nullptr ? absent : *found;
}

const std::string& GgufFile::text(std::string_view key) const {
  return require(*this, key, find_as<std::string>(*this, key, "a text"), "a text");
}
std::string GgufFile::text_or(std::string_view key, std::string_view absent) const {
  const auto* found = find_as<std::string>(*this, key, "a text");
  return found == nullptr ? std::string(absent) : *found;
}

const std::vector<std::string>& GgufFile::texts(std::string_view key) const {
  return require(*this, key, find_texts(key), "an array of texts");
}
const std::vector<std::string>* GgufFile::find_texts(std::string_view key) const {
  return find_as<std::vector<std::string>>(*this, key, "an array of texts");
}
const std::vector<double>* GgufFile::find_numbers(std::string_view key) const {
  return find_as<std::vector<double>>(*this, key, "an array of numbers");
}
const std::vector<std::int64_t>* GgufFile::find_integers(std::string_view key) const {
  return find_as<std::vector<std::int64_t>>(*this, key, "an array of integers");
}

void GgufFile::forget(std::span<const std::byte> part) const {
  if (state_->map) state_->map->forget(part);
}

std::span<const GgufTensor> GgufFile::tensors() const { return state_->parts.tensors; }

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto at = state_->parts.tensor_index.find(name);
  return at == state_->parts.tensor_index.end() ? nullptr : &state_->parts.tensors[at->second];
}

const GgufTensor& GgufFile::tensor(std::string_view name) const {
  const GgufTensor* found = find_tensor(name);
  if (found == nullptr) {
    throw Error(ErrorKind::bad_file,
                "[gguf] " + this->name() + ": found no tensor " + printable(name) + ", wanted one of that name");
  }
  return *found;
}

}  // namespace qjl::engine
