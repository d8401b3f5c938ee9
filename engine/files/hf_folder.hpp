// A folder as Hugging Face's transformers saves a model, and as its Hub has it:
//
//   config.json                                             metadata     hf_config.hpp
//   model.safetensors, or shards and their index            tensors      hf_shards.hpp, hf_tensors.hpp
//   tokenizer.json, tokenizer_config.json,                  tokenizer    hf_tokenizer.hpp
//   generation_config.json, chat_template.jinja
//
// Everything is answered by GGUF's names. Weights are mapped, and checked against the files' sizes before they are used.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "model_file.hpp"

namespace qjl::engine {

class HfFolder final : public ModelFile {
 public:
  // Errors: qjl::Error io (a missing file, named), bad_file or unsupported (names the file, what was found and what was wanted).
  static HfFolder open(const std::filesystem::path& folder);
  ~HfFolder() override;
  HfFolder(HfFolder&&) noexcept;
  HfFolder& operator=(HfFolder&&) noexcept;

  const std::string& name() const override;
  std::span<const std::string> keys() const override;
  const FileValue* find(std::string_view key) const override;
  std::span<const FileTensor> tensors() const override;
  const FileTensor* find_tensor(std::string_view name) const override;
  TokenizerData tokenizer_data() const override;
  void forget(std::span<const std::byte> part) const override;

 private:
  HfFolder();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl::engine
