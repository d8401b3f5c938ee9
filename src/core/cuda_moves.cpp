// CudaCache::upload, offload and PinnedPages: a sequence from one cache to another, between host and device. Pages go as they are;
// page indices of the two caches differ, so runs of neighbours that are neighbours on both sides are copied at once.
#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "cuda_backend.hpp"
#include "cuda_cache_state.hpp"
#include "fail.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

void check_same(const CacheConfig& device, const CacheConfig& host, const char* operation) {
  const auto name = [](const CacheConfig& c) { return cache_type_name(c.codec); };
  require(name(device) == name(host), operation, "the caches have the types ", name(device), " and ", name(host),
          ", wanted the same");
  require(device.num_layers == host.num_layers && device.num_kv_heads == host.num_kv_heads && device.head_dim == host.head_dim &&
              device.tail_dtype == host.tail_dtype && device.layer_codes == host.layer_codes &&
              device.codec.rope == host.codec.rope && device.layer_ropes == host.layer_ropes &&
              device.layer_windows == host.layer_windows,
          operation, "the caches differ in layers, heads, head_dim, tail_dtype, codes of layers, RoPE or windows, wanted the same");
}

// move(first, count) for runs of pages [0, count) whose indices rise by one on both sides.
template <typename Move>
void each_run(std::span<const std::int32_t> from, std::span<const std::int32_t> to, const Move& move) {
  for (std::size_t begin = 0; begin < from.size();) {
    std::size_t end = begin + 1;
    while (end < from.size() && from[end] == from[end - 1] + 1 && to[end] == to[end - 1] + 1) ++end;
    move(begin, static_cast<std::int64_t>(end - begin));
    begin = end;
  }
}

// One sequence on both sides. `to_device` or from it: copy(device address, host address, bytes).
template <typename Copy>
void move_layer(const CudaCache::State& device, const KvCache::State& host, std::span<const std::int32_t> device_pages,
                std::span<const std::int32_t> host_pages, int layer, const Copy& copy) {
  const std::int64_t bytes = host.pool.body_bytes(layer);
  each_run(device_pages, host_pages, [&](std::size_t first, std::int64_t count) {
    for (int head = 0; head < host.config.num_kv_heads; ++head) {
      copy(device.body(layer, head, device_pages[first]), host.pool.body(layer, head, host_pages[first]), count * bytes);
      copy(device.head(layer, head, device_pages[first]), host.pool.head(layer, head, host_pages[first]),
           count * static_cast<std::int64_t>(sizeof(layout::PageHead)));
    }
  });
}

// The first `count` rows of every head.
template <typename Copy>
void move_rows(const DeviceRows& device, const RowBlock& host, const CacheConfig& config, std::int64_t count, const Copy& copy) {
  const std::int64_t bytes = count * config.head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
  for (int head = 0; head < config.num_kv_heads; ++head) {
    copy(device.keys + head * device.head_stride, host.keys(head, 0), bytes);
    copy(device.values + head * device.head_stride, host.values(head, 0), bytes);
  }
}

std::span<const std::int32_t> sealed_pages(const Sequence& sequence, const Sequence::Layer& layer) {
  return std::span(sequence.pages).first(static_cast<std::size_t>(layer.length / kPage));
}

// Bodies and heads of all pages of a host's cache.
std::array<std::span<std::uint8_t>, 2> memory_of(const KvCache& cache) {
  const PagePool& pool = cache.state().pool;
  const CacheConfig& c = cache.state().config;
  const auto range = [](auto* begin, auto* end) {
    auto *first = reinterpret_cast<std::uint8_t*>(begin), *last = reinterpret_cast<std::uint8_t*>(end);
    return std::span(first, last);
  };
  return {range(pool.body(0, 0, 0), pool.body(c.num_layers - 1, c.num_kv_heads, 0)),
          range(pool.head(0, 0, 0), pool.head(c.num_layers, 0, 0))};
}

}  // namespace

PinnedPages::PinnedPages(const KvCache& cache) : cache_(cache) {
  const Backend& backend = cuda::backend(0);
  const auto [bodies, heads] = memory_of(cache);
  backend.pin(bodies.data(), std::ssize(bodies));
  try {
    backend.pin(heads.data(), std::ssize(heads));
  } catch (...) {
    backend.unpin(bodies.data());
    throw;
  }
}
PinnedPages::~PinnedPages() {
  for (const std::span<std::uint8_t> memory : memory_of(cache_)) cuda::backend(0).unpin(memory.data());
}

SequenceId CudaCache::upload(const KvCache& from, SequenceId sequence, CudaStream stream) {
  const SequenceId id = start_upload(from, sequence, stream);
  const DeviceScope scope(state_->backend, state_->device);
  state_->backend.wait(stream);
  return id;
}
SequenceId CudaCache::offload(SequenceId sequence, KvCache& to, CudaStream stream) const {
  const SequenceId id = start_offload(sequence, to, stream);
  const DeviceScope scope(state_->backend, state_->device);
  state_->backend.wait(stream);
  return id;
}

SequenceId CudaCache::start_upload(const KvCache& from, SequenceId sequence, CudaStream stream) {
  State& s = *state_;
  const KvCache::State& host = from.state();
  check_same(s.config(), host.config, "upload");
  const Sequence& source = host.find(sequence, "upload");
  const std::int64_t pages = source.longest() / kPage;
  s.books.check_free(pages, "upload");
  const SequenceId id = create();
  Sequence& copy_of_it = s.books.find(id, "upload");
  make_room(copy_of_it.pages, pages);
  TakenPages(s.books.pool, pages).keep(copy_of_it.pages);
  const DeviceScope scope(s.backend, s.device);
  const auto copy = [&](void* device, const void* memory, std::int64_t bytes) { s.backend.copy(device, memory, bytes, stream); };
  for (int layer = 0; layer < s.config().num_layers; ++layer) {
    const Sequence::Layer& rows = source.layers[static_cast<std::size_t>(layer)];
    const std::span<const std::int32_t> sealed = sealed_pages(source, rows);
    move_layer(s, host, std::span(copy_of_it.pages).first(sealed.size()), sealed, layer, copy);
    if (rows.tail) move_rows(s.open_rows(id, layer), *rows.tail, s.config(), rows.length % kPage, copy);
    if (rows.sinks) move_rows(s.sink_rows(id, layer), *rows.sinks, s.config(), s.config().codec.sink_tokens, copy);
    copy_of_it.layers[static_cast<std::size_t>(layer)].length = rows.length;
  }
  return id;
}

SequenceId CudaCache::start_offload(SequenceId sequence, KvCache& to, CudaStream stream) const {
  const State& s = *state_;
  KvCache::State& host = to.state();
  check_same(s.config(), host.config, "offload");
  const Sequence& source = s.books.find(sequence, "offload");
  const std::int64_t pages = source.longest() / kPage;
  host.check_free(pages, "offload");
  const SequenceId id = to.create();
  Sequence& copy_of_it = host.find(id, "offload");
  make_room(copy_of_it.pages, pages);
  TakenPages(host.pool, pages).keep(copy_of_it.pages);
  const DeviceScope scope(s.backend, s.device);
  const auto copy = [&](const void* device, void* memory, std::int64_t bytes) { s.backend.copy(memory, device, bytes, stream); };
  const CacheConfig& config = host.config;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const Sequence::Layer& rows = source.layers[static_cast<std::size_t>(layer)];
    Sequence::Layer& out = copy_of_it.layers[static_cast<std::size_t>(layer)];
    const std::span<const std::int32_t> sealed = sealed_pages(source, rows);
    if (rows.length % kPage > 0) {
      out.tail = std::make_shared<RowBlock>(config.num_kv_heads, kPage, config.head_dim);
      move_rows(s.open_rows(sequence, layer), *out.tail, config, rows.length % kPage, copy);
    }
    if (!sealed.empty() && config.codec.sink_tokens > 0) {
      out.sinks = std::make_shared<RowBlock>(config.num_kv_heads, config.codec.sink_tokens, config.head_dim);
      move_rows(s.sink_rows(sequence, layer), *out.sinks, config, config.codec.sink_tokens, copy);
    }
    out.length = rows.length;
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {  // after all rows, whose copies wait for the stream
    const std::span<const std::int32_t> sealed = sealed_pages(source, source.layers[static_cast<std::size_t>(layer)]);
    for (std::size_t i = 0; i < sealed.size(); ++i) host.pool.touch(layer, copy_of_it.pages[i]);
    move_layer(s, host, sealed, std::span(copy_of_it.pages).first(sealed.size()), layer, copy);
  }
  return id;
}

}  // namespace qjl
