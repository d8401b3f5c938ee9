// Small files of a folder of Hugging Face, in memory, by the formats' words and nothing of the engine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf_builder.hpp"

namespace qjl_test {

// A safetensors file whose header is given as text.
inline Bytes safetensors_with(std::string_view header, std::size_t data_bytes) {
  Bytes out;
  put<std::uint64_t>(out, header.size());
  for (const char c : header) out.push_back(static_cast<std::byte>(c));
  for (std::size_t i = 0; i < data_bytes; ++i) out.push_back(static_cast<std::byte>(i));
  return out;
}

inline Bytes small_safetensors() {
  return safetensors_with(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                          R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})",
                          32);
}

inline const char* small_config() {
  return R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "vocab_size": 32, "hidden_act": "silu",
    "rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}, "eos_token_id": [1, 2]})";
}

inline const char* small_gemma_config() {
  return R"({"text_config": {"model_type": "gemma3_text", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96,
    "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": {
    "full_attention": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "beta_fast": 32.0, "attention_factor": 1.2},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}}})";
}

inline const char* small_index() {
  return R"({"metadata": {"total_size": 32}, "weight_map": {"a": "model-00001-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors"}})";
}

// BPE on bytes: ASCII letters, a few merges, an expression, tokens of every kind that is added.
inline const char* small_bpe_json() {
  return R"({"version": "1.0", "added_tokens": [
      {"id": 20, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": true, "normalized": false, "special": true},
      {"id": 21, "content": "<tool>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": true, "special": false}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(?i:'s)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},
       "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
      {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [20], "tokens": ["<|end|>"]}}},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
      "vocab": {"h": 0, "e": 1, "l": 2, "o": 3, "w": 4, "r": 5, "d": 6, "1": 7, "2": 8, "\u0120": 9, "he": 10, "ll": 11, "hell": 12,
        "hello": 13, "\u0120w": 14, "or": 15, "\u0120wor": 16, "ld": 17, "\u010a": 18, "!": 19},
      "merges": ["h e", "l l", "he ll", ["hell", "o"], ["\u0120", "w"], "o r", "\u0120w or", "l d"]}})";
}

// BPE on characters with bytes to fall back to, a normalizer and a Metaspace.
inline std::string small_characters_json() {
  std::string vocab = R"("<unk>": 0, "<s>": 1, "</s>": 2)";
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    vocab += std::string(", \"<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">\": " + std::to_string(byte + 3);
  }
  int id = 259;
  for (const char* token : {"h", "e", "l", "o", "w", "\\u2581", "he", "ll", "hell", "hello", "\\u2581hello", "\\u2581w"}) {
    vocab += std::string(", \"") + token + "\": " + std::to_string(id++);
  }
  return R"({"added_tokens": [{"id": 1, "content": "<s>", "normalized": false, "special": true},
      {"id": 2, "content": "</s>", "normalized": true, "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": true},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": {)" +
         vocab + R"(},
      "merges": [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u2581", "hello"], ["\u2581", "w"]]}})";
}

inline std::string_view text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes bytes_of(std::string_view text) {
  Bytes out;
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
  return out;
}

}  // namespace qjl_test
