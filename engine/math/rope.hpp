// Rotary position embedding: pair i of a head at position p turns by the angle p * frequency[i].
//
//   frequency[i] = base^(-2 i / dimensions) / (factor * divisor[i])
//   (a, b) -> (a cos - b sin, a sin + b cos)
//
// A pair is (i, i + dimensions / 2), or (2 i, 2 i + 1) when interleaved: the converter to GGUF permutes the rows of llama's q and k
// so that the second is the first. Numbers beyond `dimensions` stay. Angles are computed in double: at position 10^5 an fp32 angle
// is wrong by 4e-3. llama3 scaling leaves high frequencies, divides low ones by the factor and blends between.
// Source: RoFormer (arXiv 2104.09864); Llama 3.1 (transformers modeling_rope_utils).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qjl::engine {

struct RopeConfig {
  enum class Scaling : std::uint8_t { none, linear, llama3 };
  double base = 10000.0;
  int dimensions = 0;  // of head_dim that rotate
  Scaling scaling = Scaling::none;
  double factor = 1.0;                    // linear
  std::vector<float> frequency_divisors;  // [dimensions / 2], llama3 (GGUF tensor rope_freqs.weight) or empty
  bool interleaved = false;               // pairs (2i, 2i+1) instead of (i, i + dimensions / 2)

  bool operator==(const RopeConfig&) const = default;
};

// [dimensions / 2]
std::vector<double> rope_frequencies(const RopeConfig& config);

// Llama 3's divisor of each frequency; wave lengths are compared with the context that the model was first trained for.
struct Llama3Scaling {
  double factor = 8.0, low_frequency_factor = 1.0, high_frequency_factor = 4.0, original_context = 8192.0;
};
std::vector<float> llama3_divisors(double base, int dimensions, const Llama3Scaling& scaling);

// Cosines then sines of one position: out [2][frequencies].
void rope_angles(std::span<const double> frequencies, std::int64_t position, float* out);

// Turns the heads of one token in place: x [heads, head_dim]; angles from rope_angles().
void rope_rotate(const RopeConfig& config, const float* angles, int heads, int head_dim, float* x);

// Puts the channels of the heads of one token in the order of the other kind of pairs: (2 i, 2 i + 1) go to (i, i + dimensions / 2)
// when interleaved, else back. Queries and keys in one order give the same scores in any.
void rope_reorder(const RopeConfig& config, int heads, int head_dim, float* x);

}  // namespace qjl::engine
