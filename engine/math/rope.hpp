// Rotary position embedding: pair i of a head at position p turns by the angle p * frequency[i].
//
//   frequency[i] = base^(-2 i / dimensions) / (factor * divisor[i])
//   (a, b) -> magnitude (a cos - b sin, a sin + b cos)
//
// A pair is (i, i + dimensions / 2), or (2 i, 2 i + 1) when interleaved: the converter to GGUF permutes the rows of llama's q and k
// so that the second is the first. Numbers beyond `dimensions` stay. Angles are computed in double: at position 10^5 an fp32 angle
// is wrong by 4e-3. Scalings for contexts above the trained one: linear divides all frequencies by the factor; llama3 and YaRN leave
// high ones, divide low ones by the factor and blend between; LongRoPE brings divisors of its own. The last two have a magnitude.
// Source: RoFormer (arXiv 2104.09864); YaRN (2309.00071); LongRoPE (2402.13753); Llama 3.1 (transformers modeling_rope_utils).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qjl::engine {

struct RopeConfig {
  double base = 10000.0;
  int dimensions = 0;                          // of a head that rotate; 0: none
  double factor = 1.0;                         // of all frequencies
  std::vector<float> frequency_divisors = {};  // [dimensions / 2] or empty
  double magnitude = 1.0;
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + dimensions / 2)

  bool operator==(const RopeConfig&) const = default;
};

// [dimensions / 2]
std::vector<double> rope_frequencies(const RopeConfig& config);

// Llama 3's divisor of each frequency; wave lengths are compared with the context that the model was first trained for.
struct Llama3Scaling {
  double factor = 8.0, low_frequency_factor = 1.0, high_frequency_factor = 4.0, original_context = 8192.0;
};
std::vector<float> llama3_divisors(double base, int dimensions, const Llama3Scaling& scaling);

// YaRN's: pair i divides by 1 / (m + (1 - m) / factor), m = extrapolation * (1 - ramp(i)). The ramp goes from 0 at the pair that
// turns beta_fast times within the original context to 1 at the one that turns beta_slow times.
struct YarnScaling {
  enum class Bounds : std::uint8_t { whole_pairs, exact };
  double factor = 1.0, original_context = 4096.0, extrapolation = 1.0, beta_fast = 32.0, beta_slow = 1.0;
  Bounds bounds = Bounds::whole_pairs;  // the ramp's ends, rounded down and up
};
std::vector<float> yarn_divisors(double base, int dimensions, const YarnScaling& scaling);

// (1 + 0.1 log factor) / (1 + 0.1 log_multiplier log factor); 1 for factors up to 1.
double yarn_magnitude(double factor, double log_multiplier);
// sqrt(1 + log(factor) / log(original_context)); 1 for factors up to 1.
double longrope_magnitude(double factor, double original_context);

// Cosines then sines of one position, times the magnitude: out [2][frequencies].
void rope_angles(std::span<const double> frequencies, std::int64_t position, float* out, double magnitude = 1.0);

// Turns the heads of one token in place: x [heads, head_dim]; angles from rope_angles().
void rope_rotate(const RopeConfig& config, const float* angles, int heads, int head_dim, float* x);

// Puts the channels of the heads of one token in the order of the other kind of pairs: (2 i, 2 i + 1) go to (i, i + dimensions / 2)
// when interleaved, else back. Queries and keys in one order give the same scores in any.
void rope_reorder(const RopeConfig& config, int heads, int head_dim, float* x);

}  // namespace qjl::engine
