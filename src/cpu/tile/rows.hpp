// Rows of numbers, such as the queries of a piece.
#pragma once

#include <cstdint>

namespace qjl::cpu {

// Rows of numbers: row r at data + r * stride.
struct Rows {
  const float* data;
  std::int64_t stride;
  int count;
};

}  // namespace qjl::cpu
