// The step from the library's words to the oracle's: what a configuration means, and what the bytes of a page mean.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "oracle.hpp"
#include "qjl/codec.hpp"

namespace qjl::test {

inline oracle::Format oracle_format(int d, const CodecConfig& config, DType row_dtype = DType::f16) {
  oracle::Format f;
  f.d = d;
  f.key = oracle::Code{static_cast<int>(config.key_code)};
  f.value = oracle::Code{static_cast<int>(config.value_code)};
  f.rows_are_bfloat = row_dtype == DType::bf16;
  if (config.key_code == Code::jl) {
    f.m = config.sketch.rows == 0 ? 2 * d : config.sketch.rows;
    f.outliers = config.sketch.outlier_channels == 0 ? d / 16 : std::max(config.sketch.outlier_channels, 0);
    f.outlier_m = f.outliers == 0 ? 0 : config.sketch.outlier_rows == 0 ? d : config.sketch.outlier_rows;
  }
  f.turn = config.rope.frequency;
  f.interleaved = config.rope.pairs == KeyRope::Pairs::interleaved;
  return f;
}

// A page as the oracle reads it: decoded keys and values in doubles; and the reach of each, the 2-norm of what a kernel adds up for
// it, |mean| + scale sqrt(frames) |levels|, which rounding errors are relative to.
struct OracleNumbers {
  std::vector<oracle::Vector> keys, values;
  std::vector<double> key_reach, value_reach;
  std::vector<double> key_scale, key_level_norm, value_scale;  // of rotated codes, else 0
};
inline OracleNumbers read_page(const oracle::Codec& codec, const oracle::Sketch* sketch, const oracle::Page& page) {
  OracleNumbers out;
  const oracle::Format& f = codec.format;
  for (int t = 0; t < kTokensPerPage; ++t) {
    out.keys.push_back(sketch ? sketch->decode_key(f, page, t) : codec.decode_key(page, t));
    out.values.push_back(codec.decode_value(page, t));
    double key_reach = oracle::norm(out.keys[t]), value_reach = oracle::norm(out.values[t]);
    if (sketch) {  // c |k| sum_rows |<S_row, q>|, with c m < 1.3 and |S_row| < 1.5 sqrt(d)
      key_reach = 2.0 * std::sqrt(f.d) * (page.key_norm(t) + (f.outliers ? page.outlier_norm(t) : 0.0));
    } else if (oracle::rotated(f.key)) {
      oracle::Vector mean;
      for (int c = 0; c < f.d; ++c) mean.push_back(page.mean(c));
      key_reach =
          oracle::norm(mean) + page.key_scale(t) * std::sqrt(oracle::frames_of(f.key)) * oracle::norm(codec.key_levels(page, t));
    }
    if (oracle::rotated(f.value)) {
      value_reach = page.value_scale(t) * std::sqrt(oracle::frames_of(f.value)) * oracle::norm(codec.value_levels(page, t));
    } else if (f.value == oracle::Code::minmax) {
      for (int c = 0; c < f.d; ++c) value_reach += std::abs(page.value_minimum(t, c)) + 3.0 * page.value_step(t, c);
    }
    out.key_reach.push_back(key_reach);
    out.value_reach.push_back(value_reach);
    const bool rotated_key = !sketch && oracle::rotated(f.key);
    out.key_scale.push_back(rotated_key ? page.key_scale(t) : 0.0);
    out.key_level_norm.push_back(rotated_key ? oracle::norm(codec.key_levels(page, t)) : 0.0);
    out.value_scale.push_back(oracle::rotated(f.value) ? page.value_scale(t) : 0.0);
  }
  return out;
}

}  // namespace qjl::test
