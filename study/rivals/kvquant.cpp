// KVQuant: non-uniform codes per channel for keys before RoPE and per token for values, 1 % outliers kept in fp16 beside them.
//
//   keys     per channel, from the prompt: low, high = quantiles .005 and .995; y = x scaled so that [low, high] is [-1, 1]
//   values   per token over all kv heads: the .5 % largest and smallest are outliers, low and high the range of the rest
//   both     x^ = x where x lies outside [low, high], else the nearest of 2^b levels; one set of levels per layer, the k-means
//            of all scaled numbers of the prompt. The first token stays exact.
//   bits     b + 32 per outlier (fp16 number, 16-bit index) + 32-bit row pointer per token + values: fp16 scale and zero per token
//
// The paper calibrates on other text and weighs its k-means by the gradients of a loss; here the prompt itself calibrates,
// unweighted, which is kinder to ranges and harder on levels. The outliers of keys are counted as they come.
// Source: KVQuant (arXiv 2401.18079), sections 3.1 to 3.5 and its tables of average bits.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "lloyd.hpp"
#include "numbers.hpp"
#include "qjl/error.hpp"
#include "rope.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr double kOutlierTail = 0.005;  // on each side
constexpr int kCells = 4096;            // of the histogram of scaled numbers
constexpr double kOutlierBits = 32, kPointerBits = 32;

struct Range {
  float low = 0, high = 0;
  bool holds(float x) const { return x >= low && x <= high; }
  float centre() const { return 0.5f * (low + high); }
  float half_width() const { return 0.5f * (high - low); }
};

class Histogram {
 public:
  void add(const Range& range, float x) {
    if (!range.holds(x) || range.half_width() <= 0) return;
    const float y = (x - range.centre()) / range.half_width();
    weights_[static_cast<std::size_t>(std::clamp((y + 1.0f) * 0.5f * kCells, 0.0f, kCells - 1.0f))] += 1;
  }
  std::vector<float> levels(int count) const { return lloyd_max(weights_, -1.0, 1.0, count); }

 private:
  std::vector<double> weights_ = std::vector<double>(kCells);
};

float code_number(float x, const Range& range, std::span<const float> levels) {
  if (range.half_width() <= 0) return range.centre();
  const float y = (x - range.centre()) / range.half_width();
  return range.centre() + range.half_width() * levels[static_cast<std::size_t>(nearest_level(levels, y))];
}

void check_learned(const std::vector<std::vector<float>>& levels, int layer) {
  if (!levels[static_cast<std::size_t>(layer)].empty()) return;
  throw Error(ErrorKind::invalid_argument,
              "[kvquant] layer " + std::to_string(layer) + " has seen no prompt, wanted 2 tokens or more");
}

class Keys final : public Side {
 public:
  Keys(int bits, const ModelConfig& model)
      : bits_(bits),
        width_(model.num_kv_heads * model.head_dim),
        ranges_(static_cast<std::size_t>(model.num_cached_layers())),
        levels_(static_cast<std::size_t>(model.num_cached_layers())) {
    for (int layer = 0; layer < model.num_cached_layers(); ++layer) {
      layers_.push_back(model.cached_layer(layer));
      frequencies_.push_back(rope_frequencies(layers_.back().rope));
    }
  }

  bool learns() const override { return true; }
  void learn(const PromptRows& prompt) override;
  void code(const Rows& page) const override;
  double bits(int) const override {
    const auto coded = static_cast<double>(coded_.load());
    const double share = coded > 0 ? static_cast<double>(outliers_.load()) / coded : 2 * kOutlierTail;
    return bits_ + share * kOutlierBits + kPointerBits / static_cast<double>(width_);
  }

 private:
  // Turns a row back from (forward: to) its position.
  void turn(std::span<float> row, int layer, std::int64_t position, bool forward) const {
    const std::vector<double>& frequencies = frequencies_[static_cast<std::size_t>(layer)];
    std::vector<float> angles(2 * frequencies.size());
    rope_angles(frequencies, position, angles.data());
    for (std::size_t i = frequencies.size(); !forward && i < angles.size(); ++i) angles[i] = -angles[i];
    rope_rotate(layers_[static_cast<std::size_t>(layer)].rope, angles.data(), 1, static_cast<int>(row.size()), row.data());
  }

  int bits_;
  std::vector<LayerShape> layers_;
  std::vector<std::vector<double>> frequencies_;  // [layer]
  std::int64_t width_;
  std::vector<std::vector<Range>> ranges_;  // [layer][head * dim + channel]
  std::vector<std::vector<float>> levels_;  // [layer][level]
  mutable std::atomic<std::int64_t> coded_{0}, outliers_{0};
};

void Keys::learn(const PromptRows& prompt) {
  const auto dim = static_cast<std::size_t>(prompt.dim), tokens = static_cast<std::size_t>(prompt.tokens);
  auto& ranges = ranges_[static_cast<std::size_t>(prompt.layer)];
  ranges.clear();
  Histogram histogram;
  for (std::int64_t head = 0; head < prompt.heads; ++head) {
    std::vector<std::vector<float>> channels(dim, std::vector<float>(tokens));
    for (std::size_t t = 0; t < tokens; ++t) {
      const auto exact = prompt.row(head, static_cast<std::int64_t>(t));
      std::vector<float> row(exact.begin(), exact.end());
      turn(row, prompt.layer, prompt.first_position + static_cast<std::int64_t>(t), false);
      for (std::size_t c = 0; c < dim; ++c) channels[c][t] = row[c];
    }
    const auto tail = static_cast<std::ptrdiff_t>(kOutlierTail * static_cast<double>(tokens));
    for (std::vector<float>& channel : channels) {
      std::vector<float> sorted = channel;
      std::sort(sorted.begin(), sorted.end());
      const Range range{sorted[static_cast<std::size_t>(tail)], sorted[tokens - 1 - static_cast<std::size_t>(tail)]};
      for (const float x : channel) histogram.add(range, x);
      ranges.push_back(range);
    }
  }
  levels_[static_cast<std::size_t>(prompt.layer)] = histogram.levels(1 << bits_);
}

void Keys::code(const Rows& page) const {
  check_learned(levels_, page.layer);
  const auto& ranges = ranges_[static_cast<std::size_t>(page.layer)];
  const auto& levels = levels_[static_cast<std::size_t>(page.layer)];
  std::int64_t outliers = 0;
  for (std::int64_t head = 0; head < page.heads; ++head) {
    for (std::int64_t token = page.first_position == 0 ? 1 : 0; token < page.tokens; ++token) {
      const auto row = page.row(head, token);
      turn(row, page.layer, page.first_position + token, false);
      for (std::size_t c = 0; c < row.size(); ++c) {
        const Range& range = ranges[static_cast<std::size_t>(head * page.dim) + c];
        outliers += range.holds(row[c]) ? 0 : 1;
        row[c] = range.holds(row[c]) ? code_number(row[c], range, levels) : fp16(row[c]);
      }
      turn(row, page.layer, page.first_position + token, true);
    }
  }
  coded_ += page.heads * page.tokens * page.dim;
  outliers_ += outliers;
}

class Values final : public Side {
 public:
  Values(int bits, const ModelConfig& model)
      : bits_(bits), width_(model.num_kv_heads * model.head_dim), levels_(static_cast<std::size_t>(model.num_cached_layers())) {}

  bool learns() const override { return true; }
  void learn(const PromptRows& prompt) override;
  void code(const Rows& page) const override;
  double bits(int) const override {
    return bits_ + (static_cast<double>(2 * tail()) * kOutlierBits + kPointerBits + 32) / static_cast<double>(width_);
  }

 private:
  // Outliers on each side of one token: half a per cent, rounded, one at least.
  std::size_t tail() const {
    return std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(kOutlierTail * static_cast<double>(width_))));
  }
  // What lies between the outliers of one token [heads * dim].
  Range range_of(std::vector<float> numbers) const {
    std::sort(numbers.begin(), numbers.end());
    return {numbers[tail()], numbers[numbers.size() - 1 - tail()]};
  }

  int bits_;
  std::int64_t width_;
  std::vector<std::vector<float>> levels_;  // [layer][level]
};

// One token of all kv heads.
template <typename AnyRows>
std::vector<float> token_numbers(const AnyRows& rows, std::int64_t token) {
  std::vector<float> numbers;
  for (std::int64_t head = 0; head < rows.heads; ++head) {
    const auto row = rows.row(head, token);
    numbers.insert(numbers.end(), row.begin(), row.end());
  }
  return numbers;
}

void Values::learn(const PromptRows& prompt) {
  Histogram histogram;
  for (std::int64_t token = 0; token < prompt.tokens; ++token) {
    const std::vector<float> numbers = token_numbers(prompt, token);
    const Range range = range_of(numbers);
    for (const float x : numbers) histogram.add(range, x);
  }
  levels_[static_cast<std::size_t>(prompt.layer)] = histogram.levels(1 << bits_);
}

void Values::code(const Rows& page) const {
  check_learned(levels_, page.layer);
  const auto& levels = levels_[static_cast<std::size_t>(page.layer)];
  for (std::int64_t token = page.first_position == 0 ? 1 : 0; token < page.tokens; ++token) {
    const Range exact = range_of(token_numbers(page, token));
    const float scale = fp16(exact.half_width()), zero = fp16(exact.centre());
    const Range stored{zero - scale, zero + scale};
    for (std::int64_t head = 0; head < page.heads; ++head) {
      for (float& x : page.row(head, token)) x = exact.holds(x) ? code_number(x, stored, levels) : fp16(x);
    }
  }
}

}  // namespace

SidePtr kvquant_keys(int bits, const ModelConfig& model) { return std::make_unique<Keys>(bits, model); }
SidePtr kvquant_values(int bits, const ModelConfig& model) { return std::make_unique<Values>(bits, model); }

}  // namespace qjl::engine::rivals
