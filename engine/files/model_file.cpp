// Typed reads of what a format answers, and which format a file has.
#include "model_file.hpp"

#include <cmath>
#include <limits>
#include <optional>

#include "gguf.hpp"
#include "hf_folder.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

std::string kind_name(const FileValue& value) {
  constexpr const char* kNames[] = {"an unsigned integer", "an integer",       "a number", "a boolean", "a text", "integers",
                                    "an array of numbers", "an array of texts"};
  static_assert(std::size(kNames) == std::variant_size_v<FileValue>);
  return kNames[value.index()];
}

[[noreturn]] void wrong(const ModelFile& file, std::string_view key, const std::string& found, std::string_view wanted) {
  throw Error(ErrorKind::bad_file,
              "[model] " + file.name() + ": key " + printable(key) + ": found " + found + ", wanted " + std::string(wanted));
}

// The value as T: absent is null, another kind is an error.
template <typename T>
const T* find_as(const ModelFile& file, std::string_view key, std::string_view wanted) {
  const FileValue* value = file.find(key);
  if (value == nullptr) return nullptr;
  const T* typed = std::get_if<T>(value);
  if (typed == nullptr) wrong(file, key, kind_name(*value), wanted);
  return typed;
}

template <typename T>
const T& require(const ModelFile& file, std::string_view key, const T* value, std::string_view wanted) {
  if (value == nullptr) wrong(file, key, "no such key", wanted);
  return *value;
}

std::optional<std::int64_t> find_integer(const ModelFile& file, std::string_view key) {
  const FileValue* value = file.find(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* plain = std::get_if<std::int64_t>(value)) return *plain;
  const auto* number = std::get_if<std::uint64_t>(value);
  if (number == nullptr) wrong(file, key, kind_name(*value), "an integer");
  if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    wrong(file, key, std::to_string(*number), "an integer below 2^63");
  }
  return static_cast<std::int64_t>(*number);
}

std::optional<double> find_number(const ModelFile& file, std::string_view key) {
  const FileValue* value = file.find(key);
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

std::int64_t ModelFile::integer(std::string_view key) const {
  const auto found = find_integer(*this, key);
  return require(*this, key, found ? &*found : nullptr, "an integer");
}
std::int64_t ModelFile::integer_or(std::string_view key, std::int64_t absent) const {
  return find_integer(*this, key).value_or(absent);
}

double ModelFile::number(std::string_view key) const {
  const auto found = find_number(*this, key);
  return require(*this, key, found ? &*found : nullptr, "a number");
}
double ModelFile::number_or(std::string_view key, double absent) const { return find_number(*this, key).value_or(absent); }

bool ModelFile::boolean_or(std::string_view key, bool absent) const {
  const bool* found = find_as<bool>(*this, key, "a boolean");
  return found == nullptr ? absent : *found;
}

const std::string& ModelFile::text(std::string_view key) const {
  return require(*this, key, find_as<std::string>(*this, key, "a text"), "a text");
}
std::string ModelFile::text_or(std::string_view key, std::string_view absent) const {
  const auto* found = find_as<std::string>(*this, key, "a text");
  return found == nullptr ? std::string(absent) : *found;
}

const std::vector<std::string>& ModelFile::texts(std::string_view key) const {
  return require(*this, key, find_texts(key), "an array of texts");
}
const std::vector<std::string>* ModelFile::find_texts(std::string_view key) const {
  return find_as<std::vector<std::string>>(*this, key, "an array of texts");
}
const std::vector<double>* ModelFile::find_numbers(std::string_view key) const {
  return find_as<std::vector<double>>(*this, key, "an array of numbers");
}
const std::vector<std::int64_t>* ModelFile::find_integers(std::string_view key) const {
  return find_as<std::vector<std::int64_t>>(*this, key, "an array of integers");
}

const FileTensor& ModelFile::tensor(std::string_view name) const {
  const FileTensor* found = find_tensor(name);
  if (found == nullptr) {
    throw Error(ErrorKind::bad_file,
                "[model] " + this->name() + ": found no tensor " + printable(name) + ", wanted one of that name");
  }
  return *found;
}

// A folder is Hugging Face's, a file GGUF.
std::unique_ptr<ModelFile> open_model_file(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) return std::make_unique<HfFolder>(HfFolder::open(path));
  if (path.extension() == ".safetensors" || path.filename() == "config.json") {
    throw Error(ErrorKind::bad_file, "[open] found " + path.string() + ", a part of a folder, wanted the folder or a GGUF file");
  }
  return std::make_unique<GgufFile>(GgufFile::open(path));
}

std::unique_ptr<ModelFile> parse_model_file(std::span<const std::byte> bytes, std::string name) {
  return std::make_unique<GgufFile>(GgufFile::parse(bytes, std::move(name)));
}

}  // namespace qjl::engine
