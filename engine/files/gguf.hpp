// GGUF files (llama.cpp's container, versions 2 and 3, little-endian), mapped into memory and never trusted: every count, length
// and offset is checked against the file's size before anything is allocated or read.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "model_file.hpp"

namespace qjl::engine {

class GgufFile final : public ModelFile {
 public:
  // Maps and parses. Errors: qjl::Error io (missing file) or bad_file (names the field, what was found and what was wanted).
  static GgufFile open(const std::filesystem::path& path);
  // The same over bytes that the caller keeps alive (tests, fuzzing).
  static GgufFile parse(std::span<const std::byte> bytes, std::string name);
  ~GgufFile() override;
  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;

  const std::string& name() const override;
  std::span<const std::string> keys() const override;
  const FileValue* find(std::string_view key) const override;
  std::span<const FileTensor> tensors() const override;
  const FileTensor* find_tensor(std::string_view name) const override;
  TokenizerData tokenizer_data() const override;
  void forget(std::span<const std::byte> part) const override;

 private:
  GgufFile();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl::engine
