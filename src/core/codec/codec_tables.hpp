// The random constants behind CodecTables: signs, dense frames and sketches, made once from (head_dim, CodecConfig) and read-only
// after. The same seed gives the same tables on every machine; philox.hpp names the streams.
//
//   head_dim a power of two:  P_f = H D1_f H D2 / d            only the diagonals are stored, d floats each
//   otherwise:                P_f = Q, G_f = Q R with a Gaussian G_f [d, d] and a positive diagonal of R
//   sketch (jl):              S [m, d] Gaussian, or Q sqrt(d) of each of its blocks of d rows (the last block keeps its first rows)
#pragma once

#include <cstdint>
#include <vector>

#include "args.hpp"
#include "mean_turn.hpp"
#include "qjl/config.hpp"

namespace qjl {

// The sketch of `config` with its defaults filled in; all numbers 0 unless the key code is jl (then 0 outliers means none).
// Errors: invalid_argument.
SketchConfig resolved_sketch(int head_dim, const CodecConfig& config);

// What the page layout needs to know. Errors: invalid_argument on head_dim or config.
layout::PageShape page_shape(int head_dim, const CodecConfig& config, DType row_dtype);

class CodecConstants {
 public:
  // Errors: invalid_argument on head_dim or config. Cost: O(frames d^3) when d is not a power of two, O(m d^2) for an orthogonal
  // sketch.
  CodecConstants(int head_dim, const CodecConfig& config, DType row_dtype);
  CodecConstants(const CodecConstants&) = delete;
  CodecConstants& operator=(const CodecConstants&) = delete;
  CodecConstants(CodecConstants&&) noexcept = default;
  CodecConstants& operator=(CodecConstants&&) noexcept = default;

  // Valid while this object lives, also after a move of it.
  const CodecTables& tables() const { return tables_; }

  // Bytes of all tables, this record included.
  std::int64_t bytes() const;

 private:
  CodecTables tables_{};
  std::vector<float> key_signs_;           // [1 + parts][d]: D2, D1_f
  std::vector<float> value_signs_;         // [1 + 8 parts][d]
  std::vector<float> key_frames_;          // dense [parts][d][d]
  std::vector<std::int16_t> key_cross_;    // dense s2 [d][d]
  std::vector<float> value_frames_;        // dense [8 parts][d][d]
  std::vector<std::int16_t> value_cross_;  // dense s2 [8][d][d]
  std::vector<float> sketch_;              // [m][d]
  std::vector<float> outlier_sketch_;      // [m_o][n_out]
  MeanTurn mean_turn_;
};

}  // namespace qjl
