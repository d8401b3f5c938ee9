// Arrays of Python as views, and new ones for results. NumPy arrays and torch tensors of the host, fp32, fp16 or bf16; nothing is copied.
//
//   take   [batch, heads, tokens, channels] -> a TensorView for each row of the batch
//
// Errors: invalid_argument on what is no array, on memory that is not there (a null address), on another rank or type, on strided
// channels and negative strides.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "exchange.hpp"
#include "qjl/tensor.hpp"

namespace qjl::python {

// Who asks, for error texts: operation "append", tensor "keys".
struct Name {
  std::string_view operation;
  std::string_view tensor;
};

struct Tensor {
  nb::ndarray<nb::ro> array;  // one of these two holds what the views point into
  nb::object tensor;          // of torch
  std::int64_t batch = 0, batch_stride = 0;
  TensorView first;  // row 0

  TensorView row(std::int64_t i) const;
};

// The last three axes are heads, tokens, channels; one of rank 4 has the batch before them, one of rank 3 is a batch of one, one of
// rank 2 has one head.
Tensor take(nb::handle array, int rank, const Name& name);

// [tokens, heads, channels], as a model's projections give them; the view is [heads, tokens, channels].
Tensor take_tokens(nb::handle array, const Name& name);

// An array of any rank, C-contiguous. Errors: as take().
struct FlatArray {
  Tensor holder;
  const void* data = nullptr;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
};
FlatArray take_flat(nb::handle array, const Name& name);

// Memory that the caller keeps things in, of any type and rank, to be written. Errors: as take(), on memory that is read-only.
struct Memory {
  Tensor holder;
  void* data = nullptr;
  nb::dlpack::dtype dtype{};
  std::string type;                          // as Python calls it
  std::vector<std::int64_t> shape, strides;  // elements
  Device device;

  int element_bytes() const { return dtype.bits / 8; }
  std::int64_t inner_numbers(std::size_t first_axis) const;  // of the axes from that one on
  bool is_contiguous(std::size_t first_axis) const;
  std::string shape_text() const;
};
Memory take_memory(nb::handle array, const Name& name);

// Whole numbers of an array of int32 or int64, any strides.
struct WholeNumbers {
  std::vector<std::int64_t> shape, numbers;
};
WholeNumbers take_whole_numbers(nb::handle array, int rank, const Name& name);

// A new fp32 array, contiguous: of torch or of NumPy.
NewArray new_array(std::span<const std::int64_t> shape, bool of_torch);

// Sequence numbers: a list, tuple or any other sequence of whole numbers.
std::vector<std::int64_t> whole_numbers(nb::handle list, const Name& name);

}  // namespace qjl::python
