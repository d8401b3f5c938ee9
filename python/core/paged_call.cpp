// Reads the arrays and lays out the results; nothing is copied but the numbers of a batch and lse.
#include "paged_call.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "errors.hpp"
#include "qjl/codec.hpp"
#include "qjl/dlpack.hpp"

namespace qjl::python {

Batch::Batch(nb::handle block_table, nb::handle start_array, nb::handle token_array, nb::handle tail_array)
    : starts(take_whole_numbers(start_array, 1, {"batch", "starts"}).numbers),
      num_tokens(take_whole_numbers(token_array, 1, {"batch", "num_tokens"}).numbers),
      tail_ids(take_whole_numbers(tail_array, 1, {"batch", "tail_ids"}).numbers) {
  const std::size_t requests = num_tokens.size();
  require(starts.size() == requests + 1, "batch", "starts are ", starts.size(), ", wanted ", requests + 1,
          ": one more than the requests in num_tokens");
  require(tail_ids.size() == requests, "batch", "tail_ids are ", tail_ids.size(), ", wanted ", requests, " as num_tokens");
  require(starts[0] == 0 && std::ranges::is_sorted(starts), "batch", "starts begin with ", starts[0],
          " or fall, wanted 0 and rising numbers");
  const WholeNumbers table = take_whole_numbers(block_table, 2, {"batch", "block_table"});
  require(table.shape[0] >= static_cast<std::int64_t>(requests), "batch", "block_table has ", table.shape[0], " rows, wanted ",
          requests, " or more as num_tokens");
  blocks_per_request = static_cast<std::size_t>(table.shape[1]);
  for (const std::int64_t block : std::span(table.numbers).first(requests * blocks_per_request)) {
    // Those that do not fit are no blocks, and refused where they are used.
    blocks.push_back(
        block > std::numeric_limits<std::int32_t>::max() ? -1 : static_cast<std::int32_t>(std::max<std::int64_t>(block, -1)));
  }
}

PagedArrays::PagedArrays(int layer, nb::handle page_array, nb::handle tail_array, const CacheConfig& config,
                         std::string_view operation)
    : pages(take_memory(page_array, {operation, "pages"})), tails(take_memory(tail_array, {operation, "tails"})) {
  require(pages.dtype.code == kDlUint && pages.dtype.bits == 8, operation, "pages are ", pages.type, ", wanted uint8");
  require(pages.shape.size() >= 3 && pages.shape[1] == config.num_kv_heads && pages.is_contiguous(2), operation, "pages are ",
          pages.shape_text(), ", wanted [blocks, ", config.num_kv_heads, " kv heads, bytes], the bytes contiguous");
  memory.layer = layer;
  memory.pages = {pages.data, pages.shape[0], pages.strides[0], pages.strides[1], pages.inner_numbers(2), pages.device};
  const bool is_bf16 = config.tail_dtype == DType::bf16;
  require(tails.dtype.code == (is_bf16 ? kDlBfloat : kDlFloat) && tails.dtype.bits == 16, operation, "tails are ", tails.type,
          ", wanted ", is_bf16 ? "bfloat16" : "float16");
  const std::vector<std::int64_t> wanted{2, config.num_kv_heads, kTokensPerPage, config.head_dim};
  require(tails.shape.size() == 5 && std::equal(wanted.begin(), wanted.end(), tails.shape.begin() + 1) && tails.is_contiguous(1),
          operation, "tails are ", tails.shape_text(), ", wanted [tails, 2, ", config.num_kv_heads, " kv heads, ", kTokensPerPage,
          " tokens, ", config.head_dim, " channels], each tail contiguous");
  memory.tails = {tails.data, tails.shape[0], tails.strides[0] * tails.element_bytes(), tails.device};
}

BatchRows::BatchRows(nb::handle rows, const Batch& batch, const Name& name) : array(take_tokens(rows, name)) {
  require(array.first.tokens >= batch.tokens(), name.operation, name.tensor, " have ", array.first.tokens, " tokens, wanted ",
          batch.tokens(), " or more as the batch");
}

TensorView BatchRows::of(const Batch& batch, std::size_t request) const {
  TensorView view = array.first;
  view.data = static_cast<const std::uint8_t*>(view.data) + batch.starts[request] * view.token_stride * dtype_bytes(view.dtype);
  view.tokens = batch.tokens(request);
  return view;
}

BatchResults::BatchResults(nb::handle out_array, bool with_lse, const TensorView& queries, std::int64_t tokens, bool of_torch) {
  const std::int64_t shape[] = {tokens, queries.heads, queries.dim}, lse_shape[] = {tokens, queries.heads};
  if (with_lse) lse = new_array(lse_shape, of_torch);
  if (out_array.is_none()) {
    out = new_array(shape, of_torch);
    view = OutputView::token_major(out.data, queries.heads, tokens, queries.dim, queries.heads * queries.dim);
    return;
  }
  given = take_memory(out_array, {"attend", "out"});
  out.object = nb::borrow(out_array);
  require(given.dtype.code == kDlFloat && given.dtype.bits == 32, "attend", "out is ", given.type, ", wanted float32");
  require(given.shape.size() == 3 && given.shape[0] >= tokens && given.shape[1] == queries.heads && given.shape[2] == queries.dim &&
              given.is_contiguous(2) && given.strides[0] >= 0 && given.strides[1] >= 0,
          "attend", "out is ", given.shape_text(), ", wanted [", tokens, " tokens or more, ", queries.heads, " heads, ",
          queries.dim, " channels], the channels contiguous");
  view = {static_cast<float*>(given.data), queries.heads, tokens, queries.dim, given.strides[1], given.strides[0], given.device};
}

void BatchResults::fill(const Batch& batch, std::vector<PagedRequest>& requests) {
  if (lse.data != nullptr) request_lse.resize(static_cast<std::size_t>(view.heads * view.tokens));
  for (std::size_t r = 0; r < requests.size(); ++r) {
    requests[r].out = view;
    requests[r].out.data = view.data + batch.starts[r] * view.token_stride;
    requests[r].out.tokens = batch.tokens(r);
    if (lse.data != nullptr) requests[r].lse = request_lse.data() + batch.starts[r] * view.heads;
  }
}

void BatchResults::finish(const Batch& batch) {
  for (std::size_t r = 0; lse.data != nullptr && r < batch.size(); ++r) {
    const std::int64_t tokens = batch.tokens(r), first = batch.starts[r] * view.heads;
    for (std::int64_t i = 0; i < tokens * view.heads; ++i) {
      lse.data[first + i] = request_lse[static_cast<std::size_t>(first + i % view.heads * tokens + i / view.heads)];
    }
  }
}

}  // namespace qjl::python
