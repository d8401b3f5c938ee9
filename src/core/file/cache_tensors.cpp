// One truth of what stands in a saved cache.
#include "cache_tensors.hpp"

#include <algorithm>

#include "codec_tables.hpp"
#include "header_text.hpp"

namespace qjl {
namespace {

// Errors: bad_file. What does not fit 63 bits is no size.
std::int64_t stream_bytes(std::int64_t body_bytes, std::int64_t pages) {
  const std::int64_t extents[] = {body_bytes, pages, kStreamAlignment};  // the product has room for the rounding
  tensor_bytes(FileType::u8, extents);
  return layout::round_up(body_bytes * pages, kStreamAlignment);
}

}  // namespace

std::string pages_name(int layer) { return "pages." + std::to_string(layer); }
std::string page_heads_name(int layer) { return "page_heads." + std::to_string(layer); }
std::string page_table_name(std::size_t sequence) { return "page_table." + std::to_string(sequence); }
std::string token_ids_name(std::size_t sequence) { return "token_ids." + std::to_string(sequence); }
std::string sinks_name(std::size_t sequence) { return "sinks." + std::to_string(sequence); }
std::string tail_name(std::size_t sequence) { return "tail." + std::to_string(sequence); }

std::string recurrent_name(std::size_t sequence) { return "recurrent." + std::to_string(sequence); }

FileType file_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return FileType::f32;
    case DType::f16: return FileType::f16;
    case DType::bf16: return FileType::bf16;
  }
  return FileType::f32;
}

std::vector<StoredTensor> tensors_of(const CacheContents& contents) {
  const CacheConfig& c = contents.config;
  const LayerGroups groups(c);
  const auto num_pages = [&](int layer) { return contents.num_pages[static_cast<std::size_t>(groups.index_of(layer))]; };
  std::vector<StoredTensor> tensors;
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const std::int64_t body = layout::body_layout(page_shape(c.head_dim, layer_codec(c, layer), c.tail_dtype)).bytes;
    tensors.push_back({pages_name(layer), FileType::u8, {c.num_kv_heads, stream_bytes(body, num_pages(layer))}});
  }
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const std::int64_t head = sizeof(layout::PageHead);
    tensors.push_back({page_heads_name(layer), FileType::u8, {c.num_kv_heads, num_pages(layer), head}});
  }
  const auto numbers = tensors.size();
  for (std::size_t i = 0; i < contents.num_tokens.size(); ++i) {
    const std::vector<std::int64_t> places = {contents.sealed_pages(i)}, of_groups = {groups.count(), contents.sealed_pages(i)};
    tensors.push_back({page_table_name(i), FileType::i64, c.layer_retention.empty() ? places : of_groups});
    tensors.push_back({token_ids_name(i), FileType::i64, {contents.num_token_ids[i]}});
    const auto rows = [&](const std::string& name, std::int64_t count) {
      tensors.push_back({name, file_type(c.tail_dtype), {c.num_layers, 2, c.num_kv_heads, count, c.head_dim}});
    };
    rows(sinks_name(i), contents.sink_tokens(i));
    rows(tail_name(i), contents.open_tokens(i));
    if (c.recurrent_numbers > 0) tensors.push_back({recurrent_name(i), FileType::f32, {c.recurrent_numbers}});
  }
  for (const ExactTensor& exact : contents.info.exact) {
    tensors.push_back({kExactPrefix + exact.name, file_type(exact.dtype), exact.shape});
  }
  std::ranges::stable_sort(
      tensors.begin() + static_cast<std::ptrdiff_t>(numbers), tensors.end(),
      [](FileType a, FileType b) { return file_type_bytes(a) > file_type_bytes(b); }, &StoredTensor::type);
  return tensors;
}

}  // namespace qjl
