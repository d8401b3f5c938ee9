// Writes the seed corpora: make_seeds FOLDER gives FOLDER/gguf_fuzz/*, FOLDER/cache_type_fuzz/*, ... No binary file is kept in the
// repository; a fuzzer adds what it finds to the same folders.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "engine/gguf_builder.hpp"

namespace {

using namespace qjl_test;
namespace fs = std::filesystem;

void write(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void write(const fs::path& path, const Bytes& bytes) {
  write(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

GgufBuilder with_config(GgufBuilder builder, const std::string& architecture) {
  const std::string prefix = architecture + ".";
  builder.u32(prefix + "block_count", 1).u32(prefix + "context_length", 64).u32(prefix + "embedding_length", 64);
  builder.u32(prefix + "feed_forward_length", 64).u32(prefix + "attention.head_count", 1).u32(prefix + "vocab_size", 32);
  builder.f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5f).f32(prefix + "rope.freq_base", 1e4f);
  return builder.text(prefix + "rope.scaling.type", "linear").f32(prefix + "rope.scaling.factor", 2.0f);
}

void gguf_seeds(const fs::path& folder) {
  write(folder / "empty", GgufBuilder().build());
  write(folder / "bpe", with_config(small_bpe(), "llama").tensor("token_embd.weight", {64, 2}, 8, counting_bytes(136)).build());
  write(folder / "spm", with_config(small_spm(), "llama").tensor("output.weight", {256}, 14, counting_bytes(210)).build());
  GgufBuilder numbers;
  numbers.text("general.architecture", "qwen3").alignment(64).numbers<float>("f", 6, {1, 2}).numbers<std::int8_t>("i", 1, {-1, 1});
  numbers.numbers<std::uint64_t>("u", 10, {1}).boolean("b", true).tensor("a", {3, 2}, 0, counting_bytes(24));
  write(folder / "numbers", with_config(numbers, "qwen3").version(2).build());
}

void text_seeds(const fs::path& folder) {
  const char* texts[] = {"aaab abab  00 \n\n", "<|im_start|>user\n<|im_end|><tool>",
                         "\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80 it's IT'S 123", "\xFF\xC3\xE2\x82"};
  for (std::size_t model = 0; model < 7; ++model) {
    for (std::size_t i = 0; i < std::size(texts); ++i) {
      const std::string text = texts[i];
      std::string seed = {static_cast<char>(model), 0, static_cast<char>(text.size()), 0};
      seed += text + std::string(12, '\1') + text + text;
      write(folder / ("text" + std::to_string(model) + std::to_string(i)), seed);
    }
  }
}

void cache_type_seeds(const fs::path& folder) {
  const char* names[] = {"f16",        "k2v2",    "k3v2",
                         "k4v4",       "kl4vs2",  "kl8vf16",
                         "kjlvminmax", "paper",   "paper:sketch=gaussian,rows=128,outliers=4,outlier_rows=64",
                         "k3 v2",      "f16 f16", "l8 l4"};
  for (std::size_t i = 0; i < std::size(names); ++i) write(folder / std::to_string(i), std::string_view(names[i]));
}

// Numbers from a plain generator: the targets read decisions, not a format.
void byte_seeds(const fs::path& folder, std::size_t count, std::size_t size) {
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < count; ++i) {
    std::string bytes;
    for (std::size_t at = 0; at < size; ++at) bytes += static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
    write(folder / std::to_string(i), bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_seeds FOLDER\n";
    return 2;
  }
  const fs::path folder = argv[1];
  gguf_seeds(folder / "gguf_fuzz");
  text_seeds(folder / "tokenizer_fuzz");
  cache_type_seeds(folder / "cache_type_fuzz");
  byte_seeds(folder / "weights_fuzz", 8, 120);
  byte_seeds(folder / "cache_ops_fuzz", 8, 300);
  return 0;
}
