// One frame of the tables: the diagonals, or the matrix, and which frame a token's keys or values have.
//
//   hadamard   P_f x = H D1_f H D2 x / d        dense   P_f x
#pragma once

#include <cstdint>

#include "args.hpp"
#include "hd.hpp"

namespace qjl {

struct Frame {
  int dim;
  const float* sign_in;   // D2, null for a dense frame
  const float* sign_mid;  // D1_f
  const float* dense;     // [d][d]
};

// Frame f of the keys, or frame f of the values (token t, part s: f = (t mod 8) parts + s).
QJL_HD inline Frame key_frame(const CodecTables& t, int f) {
  const std::int64_t d = t.shape.head_dim;
  if (t.hadamard) return {t.shape.head_dim, t.key_sign_in, t.key_sign_mid + f * d, nullptr};
  return {t.shape.head_dim, nullptr, nullptr, t.key_frames + f * d * d};
}
QJL_HD inline Frame value_frame(const CodecTables& t, int f) {
  const std::int64_t d = t.shape.head_dim;
  if (t.hadamard) return {t.shape.head_dim, t.value_sign_in, t.value_sign_mid + f * d, nullptr};
  return {t.shape.head_dim, nullptr, nullptr, t.value_frames + f * d * d};
}

}  // namespace qjl
