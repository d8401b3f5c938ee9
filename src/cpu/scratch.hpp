// How the caller's workspace is divided. The same constructor counts the bytes (base = null) and hands out the parts.
//
// Sizes follow from the codec alone: d = head_dim, K = coordinates of a projected query, parts = frames a token uses at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "args.hpp"
#include "bytes/shape.hpp"
#include "page.hpp"
#include "search_tables.hpp"
#include "tile/block.hpp"

namespace qjl::cpu {

// Takes 64-byte aligned parts from a block of memory.
class Carver {
 public:
  explicit Carver(std::uint8_t* base) : base_(reinterpret_cast<std::uintptr_t>(base)), at_(align(base_)) {}
  template <typename T>
  T* take(std::int64_t count) {
    const std::uintptr_t part = at_;
    at_ = align(at_ + static_cast<std::uintptr_t>(count) * sizeof(T));
    return base_ == 0 ? nullptr : reinterpret_cast<T*>(part);
  }
  // Enough for a base of any alignment.
  std::size_t bytes() const { return at_ - base_ + layout::kLineBytes; }

 private:
  static std::uintptr_t align(std::uintptr_t at) { return (at + layout::kLineBytes - 1) / layout::kLineBytes * layout::kLineBytes; }
  std::uintptr_t base_, at_;
};

inline constexpr int kLaneTokens = layout::kFrameSlots;  // 16: the tokens of a frame, one a lane

struct EncodeScratch {
  float* x;                   // [d][16]: 16 tokens of one frame, a token a lane
  float* rotated;             // [2 groups][2][d][16]: P_1 x, P_2 x
  std::int64_t num_words;     // of a group: a byte a coordinate
  std::uint32_t* words;       // [2 groups][num_words][16]: codes
  std::uint32_t* targets;     // [2][d][16]: s2, two tokens a word
  std::uint32_t* field;       // [max(d, num_words)][16]
  std::uint32_t* soft_signs;  // [d][16]: s2, dense frames
  std::uint32_t* indices;     // [2 groups][num_words][16]: trellis codes, level indices
  std::uint32_t* survivors;   // [d][survivor_words][16]: trellis codes
  float* scales;              // [128], slot order
  float* page;                // [8][d][16]: the page's keys, by frame
  float* knots;               // [d][16]: what the mean predicts of the first token after each knot
  float* step;                // [d][16]: and from token to token
  float* mean;                // [d]
  std::size_t bytes;

  EncodeScratch(const CodecTables& tables, std::uint8_t* base) {
    Carver carver(base);
    const std::int64_t d = tables.shape.head_dim;
    num_words = layout::round_up(2 * d, 4 * kLaneTokens) / 4;
    x = carver.take<float>(d * kLaneTokens);
    rotated = carver.take<float>(4 * d * kLaneTokens);
    words = carver.take<std::uint32_t>(2 * num_words * kLaneTokens);
    targets = carver.take<std::uint32_t>(2 * d * kLaneTokens);
    field = carver.take<std::uint32_t>(std::max(d, num_words) * kLaneTokens);
    soft_signs = carver.take<std::uint32_t>(d * kLaneTokens);
    const bool trellis = tables.shape.key.book == Book::trellis || tables.shape.value.book == Book::trellis;
    indices = carver.take<std::uint32_t>(trellis ? 2 * num_words * kLaneTokens : 0);
    survivors = carver.take<std::uint32_t>(
        d * std::max(survivor_words(tables.shape.key_code), survivor_words(tables.shape.value_code)) * kLaneTokens);
    scales = carver.take<float>(layout::kPageTokens);
    page = carver.take<float>(layout::kPageTokens * d);
    knots = carver.take<float>(d * kLaneTokens);
    step = carver.take<float>(d * kLaneTokens);
    mean = carver.take<float>(d);
    bytes = carver.bytes();
  }
};

// What the byte loops need besides, for kBytesRows rows.
struct BytesScratch {
  std::uint8_t* query;    // [rows][bytes_of_query]
  float* query_step;      // [rows]
  float* query_offset;    // [rows]
  float* scores;          // [rows][kPassTokens]
  float* value_scales;    // [kPassTokens]
  std::uint8_t* weights;  // [rows][kPassTokens]
  float* weight_scales;   // [rows][8]
};

struct AttendScratch {
  float* queries;     // [32][d], times the softmax scale
  float* projected;   // [32][K]
  float* tile;        // [64 coordinates][64 tokens]
  float* scores;      // [32][64]
  float* weights;     // [32][64]
  float* scales;      // [128] of keys, then [128] of values, slot order
  float* ordered;     // [32][d + 16]: the queries in the mean's order of channels
  float* mean;        // [d + 16], in its order
  float* mean_lines;  // [32][32]: a MeanLine a row
  float* reference;   // [32]: the running maximum
  float* sums;        // [32][16]: sums of exponentials, by lane
  float* frames;      // [32][8 parts d]: weighted sums of levels, by value frame
  float* rows;        // [16][2 d]: decoded levels of 16 tokens
  BytesScratch byte_loops{};
  std::size_t bytes;

  AttendScratch(const CodecTables& tables, std::uint8_t* base) {
    Carver carver(base);
    const layout::PageShape& shape = tables.shape;
    const std::int64_t d = shape.head_dim, n = kMaxAttendRows;
    const bool rotated = shape.value.rotated();
    queries = carver.take<float>(n * d);
    projected = carver.take<float>(n * layout::key_coordinates(shape));
    tile = carver.take<float>(kTileCoordinates * kBlockTokens);
    scores = carver.take<float>(n * kBlockTokens);
    weights = carver.take<float>(n * kBlockTokens);
    scales = carver.take<float>(2 * layout::kPageTokens);
    ordered = carver.take<float>(n * (d + kLaneTokens));
    mean = carver.take<float>(d + kLaneTokens);
    mean_lines = carver.take<float>(n * 2 * kLaneTokens);
    reference = carver.take<float>(n);
    sums = carver.take<float>(n * kLaneTokens);
    frames = carver.take<float>(rotated ? n * layout::kFrames * shape.value.frames * d : 0);
    rows = carver.take<float>(kLaneTokens * 2 * d);
    if (has_byte_loops(shape)) {
      byte_loops.query = carver.take<std::uint8_t>(kBytesRows * bytes_of_query(shape));
      byte_loops.query_step = carver.take<float>(kBytesRows);
      byte_loops.query_offset = carver.take<float>(kBytesRows);
      byte_loops.scores = carver.take<float>(kBytesRows * kPassTokens);
      byte_loops.value_scales = carver.take<float>(kPassTokens);
      byte_loops.weights = carver.take<std::uint8_t>(kBytesRows * kPassTokens);
      byte_loops.weight_scales = carver.take<float>(kBytesRows * layout::kFrames);
    }
    bytes = carver.bytes();
  }
};

}  // namespace qjl::cpu
