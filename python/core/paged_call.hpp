// The arrays of one call of Python's PagedCache as the door's requests.
//
//   Batch   what a step is about, made once for all layers: blocks, tokens before, tails, which rows are whose
//   rows    keys, values, queries [T, heads, head_dim]: request r has [starts[r], starts[r + 1])
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <span>
#include <vector>

#include "qjl/paged.hpp"
#include "tensors.hpp"

namespace qjl::python {

struct Batch {
  // block_table [R or more, blocks], starts [R + 1], num_tokens [R], tail_ids [R]. Errors: invalid_argument.
  Batch(nb::handle block_table, nb::handle starts, nb::handle num_tokens, nb::handle tail_ids);

  std::size_t size() const { return num_tokens.size(); }
  std::int64_t tokens() const { return starts.back(); }  // of all requests
  std::int64_t tokens(std::size_t r) const { return starts[r + 1] - starts[r]; }
  std::span<const std::int32_t> block_ids(std::size_t r) const {
    return std::span(blocks).subspan(r * blocks_per_request, blocks_per_request);
  }

  std::vector<std::int32_t> blocks;
  std::size_t blocks_per_request = 0;
  std::vector<std::int64_t> starts, num_tokens, tail_ids;
};

// The caller's memory for one layer, and what holds it.
struct PagedArrays {
  Memory pages, tails;
  PagedMemory memory;
  // pages uint8 [blocks, kv_heads, ...], tails [tails, 2, kv_heads, 128, head_dim] of tail_dtype. Errors: invalid_argument.
  PagedArrays(int layer, nb::handle page_array, nb::handle tail_array, const CacheConfig& config, std::string_view operation);
};

// Rows of a batch.
struct BatchRows {
  Tensor array;
  // Errors: invalid_argument unless there is a row for every token of the batch.
  BatchRows(nb::handle rows, const Batch& batch, const Name& name);
  TensorView of(const Batch& batch, std::size_t request) const;
};

// What an attend writes: out [T, query_heads, head_dim], the caller's or new, and lse [T, query_heads], new.
struct BatchResults {
  NewArray out, lse;
  Memory given;
  OutputView view;                 // [query_heads, T, head_dim]
  std::vector<float> request_lse;  // [query_heads, tokens] of each request
  BatchResults(nb::handle out_array, bool with_lse, const TensorView& queries, std::int64_t tokens, bool of_torch);
  void fill(const Batch& batch, std::vector<PagedRequest>& requests);
  void finish(const Batch& batch);
};

}  // namespace qjl::python
