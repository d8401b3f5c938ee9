// A well-formed small llama whose weights are any bytes of any type: it loads and runs a few tokens through a compressed cache, or
// is refused with a qjl::Error (numbers that overflow).
#include <cmath>

#include "fuzz_input.hpp"
#include "gguf_builder.hpp"
#include "model.hpp"
#include "qjl/error.hpp"

using namespace qjl::engine;
using qjl_fuzz::FuzzInput;
using qjl_test::Bytes;
using qjl_test::GgufBuilder;

namespace {

constexpr std::uint64_t kHidden = 256;  // the K types need rows of 256 numbers
constexpr std::uint64_t kVocab = 8;

// The input's bytes over and over, from a place of its own.
Bytes repeat(const std::string& pattern, std::size_t start, std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size && !pattern.empty(); ++i) out[i] = static_cast<std::byte>(pattern[(start + i) % pattern.size()]);
  return out;
}

Bytes build_model(FuzzInput& input) {
  GgufBuilder out;
  out.text("general.architecture", input.below(2) == 0 ? "llama" : "qwen2");
  for (const char* prefix : {"llama.", "qwen2."}) {
    const auto key = [&](const char* name) { return std::string(prefix) + name; };
    out.u32(key("block_count"), 1)
        .u32(key("context_length"), 64)
        .u32(key("embedding_length"), kHidden)
        .u32(key("vocab_size"), kVocab);
    out.u32(key("feed_forward_length"), kHidden).u32(key("attention.head_count"), 4).u32(key("attention.head_count_kv"), 2);
    out.f32(key("attention.layer_norm_rms_epsilon"), 1e-5f).f32(key("rope.freq_base"), 10000.0f);
  }
  const std::span<const WeightType> known = weight_types();
  std::vector<WeightType> types;
  for (int i = 0; i < 8; ++i) types.push_back(known[input.below(known.size())]);
  const std::string pattern = input.rest();
  std::size_t start = 0;
  const auto add = [&](const char* name, std::vector<std::uint64_t> sizes, WeightType type) {
    std::uint64_t numbers = 1;
    for (const std::uint64_t size : sizes) numbers *= size;
    const std::size_t bytes =
        numbers / static_cast<std::uint64_t>(block_numbers(type)) * static_cast<std::uint64_t>(block_bytes(type));
    out.tensor(name, sizes, static_cast<std::uint32_t>(type), repeat(pattern, start += 97, bytes));
  };
  add("token_embd.weight", {kHidden, kVocab}, types[0]);
  for (const char* name : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "blk.0.attn_q.bias"}) {
    add(name, {kHidden}, WeightType::f32);
  }
  for (const char* name : {"blk.0.attn_k.bias", "blk.0.attn_v.bias"}) add(name, {kHidden / 2}, WeightType::f32);
  add("blk.0.attn_q.weight", {kHidden, kHidden}, types[1]);
  add("blk.0.attn_k.weight", {kHidden, kHidden / 2}, types[2]);
  add("blk.0.attn_v.weight", {kHidden, kHidden / 2}, types[3]);
  add("blk.0.attn_output.weight", {kHidden, kHidden}, types[4]);
  add("blk.0.ffn_gate.weight", {kHidden, kHidden}, types[5]);
  add("blk.0.ffn_up.weight", {kHidden, kHidden}, types[6]);
  add("blk.0.ffn_down.weight", {kHidden, kHidden}, types[7]);
  return out.build();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static qjl::ThreadPool threads(1);
  FuzzInput input(data, size);
  const Bytes bytes = build_model(input);
  try {
    Model model = Model::load(parse_model_file(bytes, "fuzz"));
    qjl::KvCache cache(model.cache_config(qjl::codec_config("k3v2"), 64));
    const qjl::SequenceId sequence = cache.create();
    for (const std::vector<Token>& tokens : std::vector<std::vector<Token>>{{0, 1, 2, 3, 4, 5, 6, 7, 0}, {1}, {kVocab}}) {
      const ForwardItem item{sequence, tokens};
      const std::span<const float> logits = model.forward(cache, {&item, 1}, {}, threads);
      qjl_fuzz::require(logits.size() == kVocab, "one row of logits");
    }
    qjl_fuzz::require(false, "a token outside the vocabulary is refused");
  } catch (const qjl::Error&) {
  }
  return 0;
}
