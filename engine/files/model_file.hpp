// The seam between file formats and models: a file answers three questions, by names that are the same for every format.
//
//   metadata    "general.architecture", "<architecture>.block_count", ...   typed values
//   tensors     "token_embd.weight", "blk.0.attn_q.weight", ...             type, shape, bytes
//   tokenizer   TokenizerData
//
// The names are GGUF's, which are documented best; another format maps its own to them.
// Names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer.hpp"
#include "weight_type.hpp"

namespace qjl::engine {

// A tensor as it lies in the file: rows of `columns` numbers, row-major, the last dimension contiguous. `data` belongs to the file.
struct FileTensor {
  std::string name;
  WeightType type;
  std::vector<std::int64_t> shape;  // outermost first: [rows, columns] for a matrix, [n] for a vector
  std::span<const std::byte> data;
};

// One metadata value. Integers of any width are widened; arrays keep their element kind.
using FileValue = std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::vector<std::int64_t>,
                               std::vector<double>, std::vector<std::string>>;

class ModelFile {
 public:
  virtual ~ModelFile() = default;

  // What a format answers.
  virtual const std::string& name() const = 0;
  virtual std::span<const std::string> keys() const = 0;          // of the metadata, in file order
  virtual const FileValue* find(std::string_view key) const = 0;  // null when absent
  virtual std::span<const FileTensor> tensors() const = 0;
  virtual const FileTensor* find_tensor(std::string_view name) const = 0;  // null when absent
  // Errors: bad_file on a missing or inconsistent vocabulary; unsupported on an unknown model or pre-tokenizer (lists the known
  // ones).
  virtual TokenizerData tokenizer_data() const = 0;
  // Gives back the memory of bytes in a mapped file that will hardly be read again; nothing when the caller keeps the bytes.
  virtual void forget(std::span<const std::byte> part) const = 0;

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
  const FileTensor& tensor(std::string_view name) const;  // throws bad_file when absent

 protected:
  ModelFile() = default;
  ModelFile(ModelFile&&) = default;
  ModelFile& operator=(ModelFile&&) = default;
};

// Maps and checks a GGUF file, or a folder of Hugging Face. Errors: qjl::Error io (missing file), bad_file (names the field, what was found and what was wanted).
std::unique_ptr<ModelFile> open_model_file(const std::filesystem::path& path);
// The same over bytes that the caller keeps alive (tests, fuzzing).
std::unique_ptr<ModelFile> parse_model_file(std::span<const std::byte> bytes, std::string name);

}  // namespace qjl::engine
