// The grids of ggml's IQ1, IQ2 and IQ3 formats: sets of points that an index chooses one of.
//
//   point = (level[digit 0], level[digit 1], ...),   number = sum of digit i * base^i
//
// The points of a grid stand in the order of their numbers, so an index is a rank. Base 3 with 8 digits (IQ1, IQ2), base 8 with 4 (IQ3).
// Source: the grids of gguf.quants (PyPI `gguf`), the same as in ggml-common.h of ggml.
#pragma once

#include <cstdint>

namespace qjl::engine {

// index: 0 to the number of points less one.
const std::int8_t* iq2_xxs_point(int index);  // [8], of 256 points
const std::int8_t* iq2_xs_point(int index);   // [8], of 512
const std::int8_t* iq2_s_point(int index);    // [8], of 1024
const std::int8_t* iq3_xxs_point(int index);  // [4], of 256
const std::int8_t* iq3_s_point(int index);    // [4], of 512
const std::int8_t* iq1_point(int index);      // [8], of 2048

}  // namespace qjl::engine
