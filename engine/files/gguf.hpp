// GGUF files (llama.cpp's container, versions 2 and 3, little-endian), mapped into memory and never trusted: every count, length
// and offset is checked against the file's size before anything is allocated or read.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "weight_type.hpp"

namespace qjl::engine {

// A tensor as it lies in the file: rows of `columns` numbers, row-major, the last dimension contiguous. `data` points into the map.
struct GgufTensor {
  std::string name;
  WeightType type;
  std::vector<std::int64_t> shape;  // outermost first: [rows, columns] for a matrix, [n] for a vector
  std::span<const std::byte> data;
};

// One metadata value. Integers of any width are widened; arrays keep their element kind.
using GgufValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::vector<std::int64_t>,
                               std::vector<double>, std::vector<std::string>>;

class GgufFile {
 public:
  // Maps and parses. Errors: qjl::Error io (missing file) or bad_file (names the field, what was found and what was wanted).
  static GgufFile open(const std::filesystem::path& path);
  // The same over bytes that the caller keeps alive (tests, fuzzing).
  static GgufFile parse(std::span<const std::byte> bytes, std::string name);
  ~GgufFile();
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;

  const std::string& name() const;
  std::span<const std::string> keys() const;
  const GgufValue* find(std::string_view key) const;  // null when absent
  // Typed reads. The plain form throws bad_file when the key is absent or of another kind; the _or form only when of another kind.
  std::int64_t integer(std::string_view key) const;
  std::int64_t integer_or(std::string_view key, std::int64_t absent) const;
  double number(std::string_view key) const;  // float or integer
  double number_or(std::string_view key, double absent) const;
  bool boolean_or(std::string_view key, bool absent) const;
  const std::string& text(std::string_view key) const;
  std::string text_or(std::string_view key, std::string_view absent) const;
  const std::vector<std::string>& texts(std::string_view key) const;
  const std::vector<std::string>* find_texts(std::string_view key) const;
  const std::vector<double>* find_numbers(std::string_view key) const;
  const std::vector<std::int64_t>* find_integers(std::string_view key) const;

  std::span<const GgufTensor> tensors() const;
  const GgufTensor* find_tensor(std::string_view name) const;
  const GgufTensor& tensor(std::string_view name) const;  // throws bad_file when absent
  // Gives back the memory of bytes in a mapped file that will hardly be read again; nothing when the caller keeps the bytes.
  void forget(std::span<const std::byte> part) const;

 private:
  GgufFile();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl::engine
