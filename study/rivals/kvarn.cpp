// KVarN: a tile of 128 tokens, after a Hadamard transform, is balanced so that its rows and columns vary alike, then coded by rows.
//
//   X / (s_row s_col) = B         rows: channels of keys, tokens of values; columns: the others
//   a = (max - min) / (2^b - 1), z = min of a row of B, q = round((B - z) / a), x^ = (fp16(s_row a) q + fp16(s_row z)) fp16(s_col)
//   keys b + .25 + 16 / d bits, values b + .125 + 32 / d
//
// Balancing: 16 times log s_col += log std of the columns of B, then the same of rows, stds within [.001, 1000], logs within [-.3, 10];
// what is kept is the state, the first one included, with the least sum of largest over smallest std of columns and of rows.
// Source: KVarN (arXiv 2606.03458), huawei-csl/KVarN and vLLM pull request 44581. Its first tokens and its open tile stay exact, as
// here with sinks=N.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "hadamard.hpp"
#include "numbers.hpp"
#include "qjl/codec.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr int kIterations = 16;

// Row-major [rows, columns].
struct Tile {
  std::size_t rows, columns;
  std::vector<float> numbers;
  float& at(std::size_t r, std::size_t c) { return numbers[r * columns + c]; }
  float at(std::size_t r, std::size_t c) const { return numbers[r * columns + c]; }
};

struct Scales {
  std::vector<double> row, column;  // logs while they are looked for
};

double deviation(double sum, double squares, double count) {
  return std::sqrt(std::max(0.0, (squares - sum * sum / count) / (count - 1)));
}

// Standard deviations of the rows and columns of the tile over its scales.
Scales deviations(const Tile& tile, const Scales& logs) {
  std::vector<double> row_sum(tile.rows), row_squares(tile.rows), column_sum(tile.columns), column_squares(tile.columns);
  for (std::size_t r = 0; r < tile.rows; ++r) {
    for (std::size_t c = 0; c < tile.columns; ++c) {
      const double x = tile.at(r, c) * std::exp(-logs.row[r] - logs.column[c]);
      row_sum[r] += x, row_squares[r] += x * x;
      column_sum[c] += x, column_squares[c] += x * x;
    }
  }
  Scales out{row_sum, column_sum};
  for (std::size_t r = 0; r < tile.rows; ++r) out.row[r] = deviation(row_sum[r], row_squares[r], static_cast<double>(tile.columns));
  for (std::size_t c = 0; c < tile.columns; ++c)
    out.column[c] = deviation(column_sum[c], column_squares[c], static_cast<double>(tile.rows));
  return out;
}

double spread(const std::vector<double>& stds) {
  const auto [least, most] = std::ranges::minmax(stds);
  return most / std::max(least, 1e-8);
}

void grow(std::vector<double>& logs, const std::vector<double>& stds) {
  for (std::size_t i = 0; i < logs.size(); ++i)
    logs[i] = std::clamp(logs[i] + std::log(std::clamp(stds[i], 1e-3, 1e3)), -0.3, 10.0);
}

Scales balance(const Tile& tile) {
  Scales logs{std::vector<double>(tile.rows), std::vector<double>(tile.columns)}, best = logs;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0;; ++i) {
    const Scales stds = deviations(tile, logs);
    const double imbalance = spread(stds.row) + spread(stds.column);
    if (imbalance <= least) least = imbalance, best = logs;
    if (i == kIterations) break;
    grow(logs.column, stds.column);
    grow(logs.row, deviations(tile, logs).row);
  }
  for (double& scale : best.row) scale = std::exp(scale);
  for (double& scale : best.column) scale = std::exp(scale);
  return best;
}

void code_tile(Tile& tile, int bits) {
  const Scales scales = balance(tile);
  const auto most_code = static_cast<float>((1 << bits) - 1);
  for (std::size_t r = 0; r < tile.rows; ++r) {
    const auto s_row = static_cast<float>(scales.row[r]);
    std::vector<float> balanced(tile.columns);
    for (std::size_t c = 0; c < tile.columns; ++c) balanced[c] = tile.at(r, c) / static_cast<float>(scales.column[c]) / s_row;
    const auto [least, most] = std::ranges::minmax(balanced);
    const float step = std::max((most - least) / most_code, 1e-10f), stored_step = fp16(s_row * step),
                stored_zero = fp16(s_row * least);
    for (std::size_t c = 0; c < tile.columns; ++c) {
      const float code = std::clamp(std::nearbyint((balanced[c] - least) / step), 0.0f, most_code);
      tile.at(r, c) = (stored_step * code + stored_zero) * fp16(static_cast<float>(scales.column[c]));
    }
  }
}

class Kvarn final : public Side {
 public:
  Kvarn(int bits, int head_dim, bool is_key) : bits_(bits), head_dim_(head_dim), is_key_(is_key) {}

  double bits(int) const override {
    const double rows = is_key_ ? head_dim_ : kTokensPerPage, columns = is_key_ ? kTokensPerPage : head_dim_;
    return bits_ + 16 * (2 * rows + columns) / (rows * columns);
  }

  void code(const Rows& page) const override {
    const auto dim = static_cast<std::size_t>(page.dim), tokens = static_cast<std::size_t>(page.tokens);
    Tile tile{is_key_ ? dim : tokens, is_key_ ? tokens : dim, std::vector<float>(dim * tokens)};
    const auto number = [&](std::size_t token, std::size_t channel) -> float& {
      return is_key_ ? tile.at(channel, token) : tile.at(token, channel);
    };
    for (std::int64_t head = 0; head < page.heads; ++head) {
      for (std::size_t token = 0; token < tokens; ++token) {
        const std::span<float> row = page.row(head, static_cast<std::int64_t>(token));
        hadamard_blocks(row);
        for (std::size_t c = 0; c < dim; ++c) number(token, c) = row[c];
      }
      code_tile(tile, bits_);
      for (std::size_t token = 0; token < tokens; ++token) {
        const std::span<float> row = page.row(head, static_cast<std::int64_t>(token));
        for (std::size_t c = 0; c < dim; ++c) row[c] = number(token, c);
        hadamard_blocks(row);
      }
    }
  }

 private:
  int bits_, head_dim_;
  bool is_key_;
};

}  // namespace

SidePtr kvarn_keys(int bits, int head_dim) { return std::make_unique<Kvarn>(bits, head_dim, true); }
SidePtr kvarn_values(int bits, int head_dim) { return std::make_unique<Kvarn>(bits, head_dim, false); }

}  // namespace qjl::engine::rivals
