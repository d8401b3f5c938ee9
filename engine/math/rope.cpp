// rope.hpp has the formulas.
#include "rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace qjl::engine {

std::vector<double> rope_frequencies(const RopeConfig& config) {
  std::vector<double> frequencies(static_cast<std::size_t>(config.dimensions / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double divisor = i < config.frequency_divisors.size() ? config.frequency_divisors[i] : 1.0;
    frequencies[i] = std::pow(config.base, -2.0 * static_cast<double>(i) / config.dimensions) / (config.factor * divisor);
  }
  return frequencies;
}

std::vector<float> llama3_divisors(double base, int dimensions, const Llama3Scaling& scaling) {
  std::vector<float> divisors;
  for (int i = 0; i < dimensions / 2; ++i) {
    const double wave_length = 2.0 * std::numbers::pi * std::pow(base, 2.0 * i / dimensions);
    const double turns = scaling.original_context / wave_length;  // within the original context
    double divisor = 1.0;
    if (turns < scaling.low_frequency_factor) {
      divisor = scaling.factor;
    } else if (turns <= scaling.high_frequency_factor) {
      const double smooth = (turns - scaling.low_frequency_factor) / (scaling.high_frequency_factor - scaling.low_frequency_factor);
      divisor = 1.0 / ((1.0 - smooth) / scaling.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

std::vector<float> yarn_divisors(double base, int dimensions, const YarnScaling& scaling) {
  // The pair, a real number, that turns so many times within the original context.
  const auto pair_of = [&](double turns) {
    return dimensions * std::log(scaling.original_context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(base));
  };
  double first = pair_of(scaling.beta_fast), last = pair_of(scaling.beta_slow);
  if (scaling.bounds == YarnScaling::Bounds::whole_pairs) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, dimensions - 1.0);
  std::vector<float> divisors;
  for (int i = 0; i < dimensions / 2; ++i) {
    const double ramp = std::clamp((i - first) / std::max(last - first, 1e-3), 0.0, 1.0);
    const double as_trained = scaling.extrapolation * (1.0 - ramp);
    divisors.push_back(static_cast<float>(1.0 / (as_trained + (1.0 - as_trained) / scaling.factor)));
  }
  return divisors;
}

double yarn_magnitude(double factor, double log_multiplier) {
  if (factor <= 1.0) return 1.0;
  return (1.0 + 0.1 * std::log(factor)) / (1.0 + 0.1 * log_multiplier * std::log(factor));
}

double longrope_magnitude(double factor, double original_context) {
  return factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original_context));
}

void rope_angles(std::span<const double> frequencies, std::int64_t position, float* out, double magnitude) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    out[i] = static_cast<float>(magnitude * std::cos(angle));
    out[frequencies.size() + i] = static_cast<float>(magnitude * std::sin(angle));
  }
}

void rope_rotate(const RopeConfig& config, const float* angles, int heads, int head_dim, float* x) {
  const int pairs = config.dimensions / 2;
  const float *cosines = angles, *sines = angles + pairs;
  const int step = config.interleaved ? 2 : 1, partner = config.interleaved ? 1 : pairs;
  for (int h = 0; h < heads; ++h) {
    float* head = x + std::int64_t{h} * head_dim;
    for (int i = 0; i < pairs; ++i) {
      float &first = head[step * i], &second = head[step * i + partner];
      const float a = first, b = second;
      first = a * cosines[i] - b * sines[i];
      second = a * sines[i] + b * cosines[i];
    }
  }
}

void rope_reorder(const RopeConfig& config, int heads, int head_dim, float* x) {
  const int pairs = config.dimensions / 2;
  std::vector<float> before(static_cast<std::size_t>(2 * pairs));
  for (int h = 0; h < heads; ++h) {
    float* head = x + std::int64_t{h} * head_dim;
    std::copy_n(head, 2 * pairs, before.begin());
    for (int i = 0; i < pairs; ++i) {
      const auto half = static_cast<std::size_t>(i), other_half = static_cast<std::size_t>(pairs + i);
      const auto even = static_cast<std::size_t>(2 * i), odd = even + 1;
      head[config.interleaved ? half : even] = before[config.interleaved ? even : half];
      head[config.interleaved ? other_half : odd] = before[config.interleaved ? odd : other_half];
    }
  }
}

}  // namespace qjl::engine
