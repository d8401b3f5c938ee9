// One sequence of pseudo-random rows in a cache, attended through the public door.
#include "qjl_case.hpp"

#include <algorithm>

#include "exact_data.hpp"
#include "qjl/codec.hpp"
#include "rounds.hpp"

namespace qjl::bench {
namespace {

constexpr std::int64_t kStretch = 2048;
constexpr int kMaxGroup = 8;

std::unique_ptr<KvCache> make_cache(const QjlShape& shape) {
  CacheConfig config;
  config.num_layers = shape.layers;
  config.num_kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.max_pages = (shape.tokens + shape.spare_tokens + kTokensPerPage - 1) / kTokensPerPage;
  config.codec = codec_config(shape.cache_type);
  config.codec.rope.frequency = shape.rope;
  return std::make_unique<KvCache>(config);
}

}  // namespace

QjlCase::QjlCase(const QjlShape& shape, ThreadPool& threads)
    : shape_(shape),
      cache_(make_cache(shape)),
      sequence_(cache_->create()),
      queries_(normal_numbers(static_cast<std::size_t>(shape.kv_heads * kMaxGroup * shape.head_dim), 12)),
      out_(queries_.size()) {
  const std::int64_t stretch = std::min(kStretch, shape.tokens);
  const auto count = static_cast<std::size_t>(shape.kv_heads * stretch * shape.head_dim);
  const auto keys = normal_numbers(count, 13), values = normal_numbers(count, 14);
  const auto view = [&](const std::vector<float>& rows, std::int64_t tokens) {
    return TensorView{rows.data(),    DType::f32, shape.kv_heads, tokens, shape.head_dim, stretch * shape.head_dim,
                      shape.head_dim, {}};
  };
  const double start = now_seconds();
  for (std::int64_t done = 0; done < shape.tokens; done += stretch) {
    const std::int64_t tokens = std::min(stretch, shape.tokens - done);
    for (int layer = 0; layer < shape.layers; ++layer) {
      cache_->append(sequence_, layer, view(keys, tokens), view(values, tokens), threads);
    }
  }
  fill_seconds_ = now_seconds() - start;
}

void QjlCase::truncate(std::int64_t tokens) {
  if (tokens == shape_.tokens) return;
  cache_->truncate(sequence_, tokens);
  shape_.tokens = tokens;
}

void QjlCase::attend(int group, ThreadPool& threads) {
  const std::int64_t heads = std::int64_t{shape_.kv_heads} * group;
  const AttendRequest request{.sequence = sequence_,
                              .queries = TensorView::contiguous(queries_.data(), DType::f32, heads, 1, shape_.head_dim),
                              .chunk_keys = {},
                              .chunk_values = {},
                              .out = OutputView::contiguous(out_.data(), heads, 1, shape_.head_dim)};
  qjl::attend(*cache_, 0, {&request, 1}, {}, plan_, threads);
}

std::vector<double> QjlCase::steps(int group, int count, ThreadPool& threads) {
  const std::int64_t heads = std::int64_t{shape_.kv_heads} * group, dim = shape_.head_dim;
  const auto numbers = normal_numbers(static_cast<std::size_t>(2 * shape_.kv_heads * dim), 15);
  const auto keys = TensorView::contiguous(numbers.data(), DType::f32, shape_.kv_heads, 1, dim);
  const auto values = TensorView::contiguous(numbers.data() + shape_.kv_heads * dim, DType::f32, shape_.kv_heads, 1, dim);
  const AttendRequest request{.sequence = sequence_,
                              .queries = TensorView::contiguous(queries_.data(), DType::f32, heads, 1, dim),
                              .chunk_keys = keys,
                              .chunk_values = values,
                              .out = OutputView::contiguous(out_.data(), heads, 1, dim)};
  std::vector<double> seconds;
  for (int step = 0; step < count; ++step) {
    const double start = now_seconds();
    for (int layer = 0; layer < shape_.layers; ++layer) {
      qjl::attend(*cache_, layer, {&request, 1}, {}, plan_, threads);
      cache_->append(sequence_, layer, keys, values, threads);
    }
    seconds.push_back(now_seconds() - start);
  }
  cache_->truncate(sequence_, shape_.tokens);
  return seconds;
}

std::int64_t QjlCase::bytes() const {
  const std::int64_t pages = shape_.tokens / kTokensPerPage, rest = shape_.tokens % kTokensPerPage;
  const std::int64_t row = 2 * std::int64_t{shape_.head_dim} * shape_.kv_heads * dtype_bytes(DType::f16);
  return pages * shape_.kv_heads * cache_->page_bytes(0) + (rest + cache_->config().codec.sink_tokens) * row;
}

EncodeCase::EncodeCase(const QjlShape& shape, ThreadPool& threads)
    : shape_(shape),
      threads_(&threads),
      cache_(make_cache(shape)),
      keys_(normal_numbers(static_cast<std::size_t>(shape.kv_heads * shape.tokens * shape.head_dim), 13)),
      values_(normal_numbers(keys_.size(), 14)) {}

void EncodeCase::run() {
  const SequenceId sequence = cache_->create();
  const auto view = [&](const std::vector<float>& rows) {
    return TensorView::contiguous(rows.data(), DType::f32, shape_.kv_heads, shape_.tokens, shape_.head_dim);
  };
  cache_->append(sequence, 0, view(keys_), view(values_), *threads_);
  cache_->drop(sequence);
}

}  // namespace qjl::bench
