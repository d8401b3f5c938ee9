// One side, keys or values, of a cache that another method would keep: exact rows in, the numbers it would decode out.
//
//   learn(layer, prompt)   once per layer, before its first page, for methods that calibrate; others ignore it
//   code(page)             in place; called from several threads
//   bits(layer)            stored bits per number of a sealed page, every scale, norm and index included
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "qjl/codec.hpp"

namespace qjl::engine::rivals {

// Rows of all kv heads: numbers [heads, tokens, dim], contiguous.
template <typename Number>
struct BasicRows {
  int layer = 0;
  std::int64_t first_position = 0;
  std::int64_t heads = 0, tokens = 0, dim = 0;
  std::span<Number> numbers;

  std::span<Number> row(std::int64_t head, std::int64_t token) const {
    return numbers.subspan(static_cast<std::size_t>((head * tokens + token) * dim), static_cast<std::size_t>(dim));
  }
};
using Rows = BasicRows<float>;
using PromptRows = BasicRows<const float>;

class Side {
 public:
  virtual ~Side() = default;
  virtual void learn(const PromptRows& prompt) { static_cast<void>(prompt); }
  virtual bool learns() const { return false; }
  virtual void code(const Rows& page) const = 0;
  virtual double bits(int layer) const = 0;
};
using SidePtr = std::unique_ptr<Side>;

// A method that codes every row by itself.
class RowSide : public Side {
 public:
  void code(const Rows& page) const final {
    for (std::int64_t head = 0; head < page.heads; ++head) {
      for (std::int64_t token = 0; token < page.tokens; ++token) code_row(page.layer, page.row(head, token));
    }
  }

 private:
  virtual void code_row(int layer, std::span<float> row) const = 0;
};

}  // namespace qjl::engine::rivals
