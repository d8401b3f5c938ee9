// Views of the caller's memory. A view owns nothing and must not outlive what it points to.
#pragma once

#include <cstdint>

#include "qjl/device.hpp"
#include "qjl/types.hpp"

namespace qjl {

// A read-only tensor [heads, tokens, dim]; strides count elements, the last dimension is contiguous. A cache takes memory of
// its own device.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t heads = 0;
  std::int64_t tokens = 0;
  std::int64_t dim = 0;
  std::int64_t head_stride = 0;
  std::int64_t token_stride = 0;
  Device device;

  // A contiguous [heads, tokens, dim] block.
  static TensorView contiguous(const void* data, DType dtype, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
    return {data, dtype, heads, tokens, dim, tokens * dim, dim, {}};
  }
  // Rows as a matrix product writes them: [tokens, heads * dim] seen as [heads, tokens, dim]; `row_stride` elements a token.
  static TensorView token_major(const void* data, DType dtype, std::int64_t heads, std::int64_t tokens, std::int64_t dim,
                                std::int64_t row_stride) {
    return {data, dtype, heads, tokens, dim, dim, row_stride, {}};
  }
  TensorView on(Device where) const {
    TensorView view = *this;
    view.device = where;
    return view;
  }
  bool empty() const { return data == nullptr || tokens == 0; }
};

// A writable fp32 tensor of the same form.
struct OutputView {
  float* data = nullptr;
  std::int64_t heads = 0;
  std::int64_t tokens = 0;
  std::int64_t dim = 0;
  std::int64_t head_stride = 0;
  std::int64_t token_stride = 0;
  Device device;

  static OutputView contiguous(float* data, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
    return {data, heads, tokens, dim, tokens * dim, dim, {}};
  }
  static OutputView token_major(float* data, std::int64_t heads, std::int64_t tokens, std::int64_t dim, std::int64_t row_stride) {
    return {data, heads, tokens, dim, dim, row_stride, {}};
  }
  OutputView on(Device where) const {
    OutputView view = *this;
    view.device = where;
    return view;
  }
};

}  // namespace qjl
