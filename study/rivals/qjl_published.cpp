// QJL keys as their authors publish and release them: signs of a sketch, norms in fp16, outlier channels sketched apart.
//
//   k = k_in + k_out by channel;  b = sign(S k_in), m bits;  b_o = sign(S_o k_out), m_o bits
//   k^_in = sqrt(pi/2)/m |k_in| S^T b on the inlier channels, k^_out likewise on the outlier channels: the query is split
//   as the key is
//
//   paper      S Gaussian, or orthogonal rows of norm sqrt(d); outlier channels found once, in the prompt, per kv head; S_o its own
//   released   orthogonal rows; the largest channels of every 32 tokens; S_o = the first m_o rows of S; |k_in| from two fp16 norms,
//              sqrt(|k|^2 - |k_out|^2); the first 15 layers have more rows
//   bits       (m + 16) / d, with outliers (m + m_o + 32) / d, and released 8 per outlier channel and 32 tokens
//
// Source: QJL (arXiv 2406.03482), algorithm 1 and section 4.1; amirzandieh/QJL at 421d61c, models/llama3_utils_qjl.py and csrc.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "numbers.hpp"
#include "qjl/error.hpp"
#include "random_matrix.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr std::int64_t kGroup = 32;  // tokens that share outlier channels in the released code
using Outliers = QjlSettings::Outliers;

double squared_norm(std::span<const float> x) {
  double sum = 0;
  for (const float number : x) sum += double{number} * number;
  return sum;
}

// Adds sqrt(pi/2)/m norm S^T sign(S x) to out; the sketch is the first `rows` rows of S. A zero projection counts as negative.
void add_sketched(const Matrix& s, int rows, std::span<const float> x, double norm, std::span<float> out) {
  for (int i = 0; i < rows; ++i) {
    const auto row = s.row(i);
    float projection = 0;
    for (std::size_t c = 0; c < x.size(); ++c) projection += row[c] * x[c];
    const double scale = std::sqrt(0.5 * std::numbers::pi) / rows * norm * (projection > 0 ? 1.0 : -1.0);
    for (std::size_t c = 0; c < x.size(); ++c) out[c] += static_cast<float>(scale) * row[c];
  }
}

// The `count` channels of largest energy over the given rows of one head.
template <typename AnyRows>
std::vector<std::uint8_t> largest_channels(const AnyRows& rows, std::int64_t head, std::int64_t begin, std::int64_t end,
                                           int count) {
  std::vector<double> energy(static_cast<std::size_t>(rows.dim));
  for (std::int64_t token = begin; token < end; ++token) {
    const auto row = rows.row(head, token);
    for (std::size_t c = 0; c < row.size(); ++c) energy[c] += double{row[c]} * row[c];
  }
  std::vector<std::size_t> order(energy.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return energy[a] != energy[b] ? energy[a] > energy[b] : a < b; });
  std::vector<std::uint8_t> mask(energy.size());
  for (int i = 0; i < count; ++i) mask[order[static_cast<std::size_t>(i)]] = 1;
  return mask;
}

class QjlKeys final : public Side {
 public:
  QjlKeys(const QjlSettings& settings, const ModelConfig& model)
      : settings_(settings),
        dim_(model.head_dim),
        heads_(model.num_kv_heads),
        sketch_(make(settings.rows, settings.seed)),
        initial_(make(settings.initial_rows, settings.seed + 1)),
        outlier_sketch_(make(settings.outliers == Outliers::per_prompt ? settings.outlier_rows : 0, settings.seed + 2)),
        prompt_masks_(static_cast<std::size_t>(model.num_cached_layers() * model.num_kv_heads)) {}

  bool learns() const override { return settings_.outliers == Outliers::per_prompt; }
  void learn(const PromptRows& prompt) override {
    if (!learns()) return;
    for (std::int64_t head = 0; head < prompt.heads; ++head)
      prompt_masks_[mask_idx(prompt.layer, head)] = largest_channels(prompt, head, 0, prompt.tokens, settings_.outlier_channels);
  }
  void code(const Rows& page) const override;
  double bits(int layer) const override {
    const bool apart = settings_.outliers != Outliers::none;
    double stored = rows(layer) + 16.0 + (apart ? outlier_rows(layer) + 16.0 : 0.0);
    if (settings_.outliers == Outliers::per_32_tokens) stored += 8.0 * settings_.outlier_channels / kGroup;
    return stored / dim_;
  }

 private:
  Matrix make(int rows, std::uint64_t seed) const {
    if (rows == 0) return {};
    return settings_.orthogonal ? orthogonal_rows(rows, dim_, seed) : gaussian_matrix(rows, dim_, seed);
  }
  bool is_initial(int layer) const { return layer < settings_.initial_layers; }
  int rows(int layer) const { return is_initial(layer) ? settings_.initial_rows : settings_.rows; }
  int outlier_rows(int layer) const { return is_initial(layer) ? settings_.initial_outlier_rows : settings_.outlier_rows; }
  std::size_t mask_idx(int layer, std::int64_t head) const { return static_cast<std::size_t>(layer * heads_ + head); }
  void code_row(int layer, std::span<const std::uint8_t> outlier, std::span<float> row) const;

  QjlSettings settings_;
  int dim_, heads_;
  Matrix sketch_, initial_, outlier_sketch_;
  std::vector<std::vector<std::uint8_t>> prompt_masks_;  // [layer * heads + head][channel], per prompt
};

void QjlKeys::code_row(int layer, std::span<const std::uint8_t> outlier, std::span<float> row) const {
  const Matrix& sketch = is_initial(layer) ? initial_ : sketch_;
  std::vector<float> in(row.begin(), row.end()), out(row.size()), in_estimate(row.size()), out_estimate(row.size());
  for (std::size_t c = 0; c < outlier.size(); ++c) {
    if (outlier[c] != 0) std::swap(in[c], out[c]);
  }
  const double whole = fp16(static_cast<float>(std::sqrt(squared_norm(row))));
  const double out_norm = fp16(static_cast<float>(std::sqrt(squared_norm(out))));
  const bool released = settings_.outliers == Outliers::per_32_tokens;
  const double in_norm = released ? std::sqrt(std::max(0.0, whole * whole - out_norm * out_norm))
                                  : fp16(static_cast<float>(std::sqrt(squared_norm(in))));
  add_sketched(sketch, rows(layer), in, in_norm, in_estimate);
  if (!outlier.empty()) add_sketched(released ? sketch : outlier_sketch_, outlier_rows(layer), out, out_norm, out_estimate);
  for (std::size_t c = 0; c < row.size(); ++c) row[c] = !outlier.empty() && outlier[c] != 0 ? out_estimate[c] : in_estimate[c];
}

void QjlKeys::code(const Rows& page) const {
  for (std::int64_t head = 0; head < page.heads; ++head) {
    std::vector<std::uint8_t> mask;
    if (learns()) mask = prompt_masks_.at(mask_idx(page.layer, head));
    if (learns() && mask.empty())
      throw Error(ErrorKind::invalid_argument,
                  "[qjl] layer " + std::to_string(page.layer) + " has seen no prompt, wanted 1 token or more");
    for (std::int64_t token = 0; token < page.tokens; ++token) {
      if (settings_.outliers == Outliers::per_32_tokens && token % kGroup == 0)
        mask = largest_channels(page, head, token, std::min(page.tokens, token + kGroup), settings_.outlier_channels);
      code_row(page.layer, mask, page.row(head, token));
    }
  }
}

}  // namespace

SidePtr qjl_keys(const QjlSettings& settings, const ModelConfig& model) { return std::make_unique<QjlKeys>(settings, model); }

}  // namespace qjl::engine::rivals
