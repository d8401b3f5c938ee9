// What a codec and a cache are made of. Every number that changes a stored byte stands here.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qjl/types.hpp"

namespace qjl {

// The most typical of eight, not the best: docs/decisions/format.md.
inline constexpr std::uint64_t kDefaultSeed = 1;

// The paper's sketch (arXiv 2406.03482): S is [rows, head_dim], Gaussian or QR-orthogonalised in blocks of head_dim rows.
// 0 means the released setting scaled by head_dim: rows 2 d, outlier_channels d / 16, outlier_rows d.
struct SketchConfig {
  enum class Kind : std::uint8_t { orthogonal, gaussian };
  Kind kind = Kind::orthogonal;
  int rows = 0;              // m: signs per key; a multiple of 8
  int outlier_channels = 0;  // channels per kv head that are sketched apart; -1 for none
  int outlier_rows = 0;      // m_o: signs of the outlier part; a multiple of 8
};

// How a model turns its keys by their position (RoPE): pair i turns by frequency[i] radians a token. The mean of a page is taken
// before it. Empty: keys do not turn.
struct KeyRope {
  enum class Pairs : std::uint8_t { halves, interleaved };
  std::vector<double> frequency;  // [at most head_dim / 2], each 0 or more; channels beyond 2 * size do not turn
  Pairs pairs = Pairs::halves;    // (i, i + size), or (2 i, 2 i + 1)
  bool operator==(const KeyRope&) const = default;
};

// How one layer is coded. The same config, keys and values give the same bytes on every machine.
struct CodecConfig {
  Code key_code = Code::l8;
  Code value_code = Code::l4;
  std::uint64_t seed = kDefaultSeed;  // of the frames and sketches
  int sink_tokens = 4;                // first tokens of a sequence that stay exact, 0 to 16; the paper preset has none
  SketchConfig sketch;                // used by Code::jl only
  KeyRope rope;                       // of the model; no part of a cache type's name
};

// Reads a cache type: `f16`, `k2v2`, `k3v2` (default), `k3v3`, `k4v3`, `k4v4`, any `k{1..6}v{1..6}`, `t2v2`, `t3v2`, `t3v3`,
// `t4v4`, `kNAMEvNAME` with code names (`kl4vs2`), or `paper`. Of the host: k5 (head_dim a multiple of 32), k6, v5, v6, t (of 64).
// Options may follow, `k3v2:seed=7,sinks=0`; of sketched keys also sketch=orthogonal|gaussian, rows, outliers, outlier_rows.
// Errors: invalid_argument that lists the known names.
CodecConfig codec_config(std::string_view cache_type);

// The same from llama.cpp's two words: keys `f16`, `k1`..`k6`, values `f16`, `v1`..`v6`, or code names.
CodecConfig codec_config(std::string_view key_type, std::string_view value_type);

// The shortest name that codec_config() reads back.
std::string cache_type_name(const CodecConfig& config);

// The codes that keys and values may both have, which are those of a plan, in the order of their numbers.
std::vector<Code> plan_codes();
// Whether CUDA devices have a code. Those that are strings of bits (t2, t2w, t3, t4, l32, l64) are the host's.
bool is_on_gpus(Code code);

// One page of one layer on its way into a cache, all kv heads: keys, values [num_kv_heads, 128, head_dim], contiguous, exact up to
// their rounding to tail_dtype. A function may change them in place.
struct SealingPage {
  int layer = 0;
  std::int64_t first_position = 0;  // a multiple of 128
  std::span<float> keys;
  std::span<float> values;
};

struct CacheConfig {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;  // one of head_dims() (codec.hpp); of f16 a multiple of 16 from 32 to 512
  std::int64_t max_pages =
      0;  // capacity of the pool; a page is 128 tokens of one sequence in all layers that keep as many, all kv heads
  CodecConfig codec;
  // Codes of single layers (keys, values), for a per-layer plan; empty: codec.key_code and codec.value_code everywhere.
  std::vector<std::pair<Code, Code>> layer_codes;
  // Of a model whose layers differ, [num_layers] each. How keys turn; empty: codec.rope everywhere. And how far back a query sees,
  // unless a call says otherwise: positions p > its own - window, 0: all; empty: all, everywhere.
  std::vector<KeyRope> layer_ropes = {};
  std::vector<std::int64_t> layer_windows = {};
  // How many of its last tokens a layer keeps at least, [num_layers], 0: all; empty or all 0: all, everywhere. Whole pages before
  // them are forgotten: they go back to the pool once all layers are past them, and what would need them is an error. At
  // least the layer's window, at most 2^40; a page (128) is always kept. On the host alone.
  std::vector<std::int64_t> layer_retention = {};
  // Numbers that a sequence has beside its tokens: what layers without keys keep of them (KvCache::recurrent_state). 0 to 2^32.
  std::int64_t recurrent_numbers = 0;
  DType tail_dtype = DType::f16;  // 16-bit format of sinks and open pages: f16 or bf16
  // The door for simulation: called once per page and layer before it is coded, from several threads at once. What it leaves is
  // rounded to tail_dtype and coded: with an exact codec the cache then holds the numbers that another method would decode. It must
  // leave finite numbers and depend on the page alone, or chunks and forks no longer agree.
  std::function<void(const SealingPage&)> on_seal;
};

// How one layer of a cache is coded: `codec` with the layer's own codes and RoPE.
CodecConfig layer_codec(const CacheConfig& config, int layer);

}  // namespace qjl
