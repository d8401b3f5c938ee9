// A random llama, Gemma 3 or Qwen 3.5 of two layers as the bytes of a GGUF file, for tests that need no trained model. Its keys and tensors
// can be changed before it is written.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "quants.hpp"

namespace qjl::engine::test {

struct TinyTensor {
  std::vector<std::int64_t> shape;  // outermost first
  std::vector<float> numbers;
};

struct TinyModel {
  std::map<std::string, std::variant<std::uint32_t, float, std::string, std::vector<std::int32_t>, bool>> keys;
  std::map<std::string, TinyTensor> tensors;
  std::mt19937_64 random{11};

  // hidden 128, 2 query heads and 1 kv head of 64, vocabulary of 96, context of 512.
  explicit TinyModel(const std::string& architecture = "llama") {
    keys["general.architecture"] = architecture;
    for (const auto& [name, number] : {std::pair{"block_count", 2u},
                                       {"embedding_length", 128u},
                                       {"feed_forward_length", 192u},
                                       {"attention.head_count", 2u},
                                       {"attention.head_count_kv", 1u},
                                       {"context_length", 512u},
                                       {"vocab_size", 96u}}) {
      keys[architecture + "." + name] = number;
    }
    keys[architecture + ".attention.layer_norm_rms_epsilon"] = 1e-5f;
    matrix("token_embd.weight", 96, 128, 3.0);
    norm("output_norm.weight");
    for (const std::string layer : {"blk.0.", "blk.1."}) {
      norm(layer + "attn_norm.weight");
      norm(layer + "ffn_norm.weight");
      matrix(layer + "attn_q.weight", 128, 128, 1.0);
      matrix(layer + "attn_k.weight", 64, 128, 1.0);
      matrix(layer + "attn_v.weight", 64, 128, 1.0);
      matrix(layer + "attn_output.weight", 128, 128, 1.0);
      matrix(layer + "ffn_gate.weight", 192, 128, 1.0);
      matrix(layer + "ffn_up.weight", 192, 128, 1.0);
      matrix(layer + "ffn_down.weight", 128, 192, 1.0);
    }
  }

  // The same numbers, and what differs by layer: the first sees 32 tokens and has a RoPE of its own.
  static TinyModel gemma3() {
    TinyModel tiny("gemma3");
    tiny.keys["gemma3.attention.sliding_window"] = 32u;
    tiny.keys["gemma3.attention.sliding_window_pattern"] = 2u;
    tiny.keys["gemma3.rope.freq_base"] = 1e6f;
    for (const std::string layer : {"blk.0.", "blk.1."}) {
      for (const char* name : {"attn_q_norm.weight", "attn_k_norm.weight"})
        tiny.tensors[layer + name] = {{64}, std::vector(64, 1.0f)};
      for (const char* name : {"post_attention_norm.weight", "post_ffw_norm.weight"}) tiny.norm(layer + name);
    }
    return tiny;
  }

  // Qwen 3.5: the first layer keeps a state, of 2 key heads of 16 and 4 value heads of 24; the second attends, with gates.
  static TinyModel qwen35() {
    TinyModel tiny("qwen35");
    for (const auto& [name, number] : {std::pair{"full_attention_interval", 2u},
                                       {"rope.dimension_count", 16u},
                                       {"ssm.conv_kernel", 4u},
                                       {"ssm.state_size", 16u},
                                       {"ssm.group_count", 2u},
                                       {"ssm.time_step_rank", 4u},
                                       {"ssm.inner_size", 96u}}) {
      tiny.keys[std::string("qwen35.") + name] = number;
    }
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
      tiny.tensors.erase(std::string("blk.0.") + name + ".weight");
    tiny.matrix("blk.1.attn_q.weight", 256, 128, 1.0);
    for (const char* name : {"blk.1.attn_q_norm.weight", "blk.1.attn_k_norm.weight"})
      tiny.tensors[name] = {{64}, std::vector(64, 1.0f)};
    tiny.matrix("blk.0.attn_qkv.weight", 160, 128, 1.0);
    tiny.matrix("blk.0.attn_gate.weight", 96, 128, 1.0);
    tiny.matrix("blk.0.ssm_alpha.weight", 4, 128, 1.0);
    tiny.matrix("blk.0.ssm_beta.weight", 4, 128, 1.0);
    tiny.matrix("blk.0.ssm_conv1d.weight", 160, 4, 2.0);
    tiny.matrix("blk.0.ssm_out.weight", 128, 96, 1.0);
    tiny.tensors["blk.0.ssm_a"] = {{4}, {-0.02f, -0.1f, -0.4f, -1.0f}};
    tiny.tensors["blk.0.ssm_dt.bias"] = {{4}, {-2.0f, -1.0f, 0.0f, 1.0f}};
    tiny.tensors["blk.0.ssm_norm.weight"] = {{24}, std::vector(24, 1.0f)};
    return tiny;
  }

  void matrix(const std::string& name, std::int64_t rows, std::int64_t columns, double gain) {
    std::normal_distribution<float> normal(0.0f, static_cast<float>(gain / std::sqrt(static_cast<double>(columns))));
    TinyTensor& tensor = tensors[name] = {{rows, columns}, std::vector<float>(static_cast<std::size_t>(rows * columns))};
    for (float& x : tensor.numbers) x = normal(random);
  }
  void norm(const std::string& name) { tensors[name] = {{128}, std::vector<float>(128, 1.0f)}; }

  // GGUF version 3, alignment 32; matrices as F32, or as Q8_0 (rounded up to half a step).
  enum class Matrices : std::uint8_t { f32, q8_0 };
  std::vector<std::byte> bytes(Matrices matrices = Matrices::f32) const {
    const auto is_coded = [&](const TinyTensor& tensor) {
      return matrices == Matrices::q8_0 && tensor.shape.size() >= 2 && tensor.shape.back() % 32 == 0;
    };
    std::string out = "GGUF";
    put(out, std::uint32_t{3});
    put(out, std::uint64_t{tensors.size()});
    put(out, std::uint64_t{keys.size()});
    for (const auto& [key, value] : keys) {
      put_text(out, key);
      constexpr std::uint32_t kKinds[] = {4, 6, 8, 9, 7};  // uint32, float32, string, array, bool
      put(out, kKinds[value.index()]);
      std::visit([&out](const auto& v) { put_value(out, v); }, value);
    }
    std::uint64_t offset = 0;
    for (const auto& [name, tensor] : tensors) {
      put_text(out, name);
      put(out, static_cast<std::uint32_t>(tensor.shape.size()));
      for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent)
        put(out, static_cast<std::uint64_t>(*extent));
      put(out, std::uint32_t{is_coded(tensor) ? 8u : 0u});
      put(out, offset);
      offset += (is_coded(tensor) ? tensor.numbers.size() / 32 * 34 : tensor.numbers.size() * 4) + 31;
      offset -= offset % 32;
    }
    for (const auto& [name, tensor] : tensors) {
      out.resize((out.size() + 31) / 32 * 32);
      if (is_coded(tensor)) {
        put_q8_0(out, tensor.numbers);
      } else {
        out.append(reinterpret_cast<const char*>(tensor.numbers.data()), tensor.numbers.size() * 4);
      }
    }
    const auto* first = reinterpret_cast<const std::byte*>(out.data());
    return {first, first + out.size()};
  }

 private:
  template <typename T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void put_q8_0(std::string& out, const std::vector<float>& numbers) {
    for (std::size_t i = 0; i < numbers.size(); i += 32) {
      float largest = 0;
      for (std::size_t j = i; j < i + 32; ++j) largest = std::max(largest, std::abs(numbers[j]));
      const std::uint16_t half = f32_to_f16(largest / 127.0f);
      put(out, half);
      const float step = f16_to_f32(half);
      for (std::size_t j = i; j < i + 32; ++j) {
        const float code = step > 0 ? std::round(numbers[j] / step) : 0.0f;
        put(out, static_cast<std::int8_t>(std::clamp(code, -127.0f, 127.0f)));
      }
    }
  }
  static void put_text(std::string& out, const std::string& text) {
    put(out, std::uint64_t{text.size()});
    out += text;
  }
  static void put_value(std::string& out, std::uint32_t value) { put(out, value); }
  static void put_value(std::string& out, float value) { put(out, value); }
  static void put_value(std::string& out, bool value) { put(out, value); }
  static void put_value(std::string& out, const std::string& value) { put_text(out, value); }
  static void put_value(std::string& out, const std::vector<std::int32_t>& values) {
    put(out, std::uint32_t{5});  // int32
    put(out, std::uint64_t{values.size()});
    for (const std::int32_t value : values) put(out, value);
  }
};

}  // namespace qjl::engine::test
