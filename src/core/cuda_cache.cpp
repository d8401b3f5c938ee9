// CudaCache: its doors but the moves (cuda_moves.cpp). Everything is checked first; the books change when the work is on the
// stream.
#include "qjl/cuda_cache.hpp"

#include <algorithm>
#include <utility>

#include "cuda_backend.hpp"
#include "cuda_cache_state.hpp"
#include "fail.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

CacheConfig checked(CacheConfig config) {
  require(!config.on_seal, "cuda cache", "found on_seal, wanted none: it runs on the host");
  return config;
}

// Rows of one side of an append: where they come from and where they go.
CopyRowsArgs copy_of(const TensorView& from, std::int64_t first, std::int64_t count, std::uint16_t* to,
                     std::int64_t to_head_stride) {
  CopyRowsArgs args{};
  args.from = row_address(from, 0, first);
  args.from_dtype = from.dtype;
  args.from_head_stride = from.head_stride;
  args.from_token_stride = from.token_stride;
  args.to = to;
  args.to_head_stride = to_head_stride;
  args.to_token_stride = args.dim = from.dim;
  args.heads = from.heads;
  args.count = count;
  return args;
}

// One append: positions in pages, and the steps.
class DeviceAppend {
 public:
  DeviceAppend(CudaCache::State& state, SequenceId sequence, int layer, CudaStream stream)
      : s_(state),
        sequence_(state.books.find(sequence, "append")),
        layer_(sequence_.layers[static_cast<std::size_t>(layer)]),
        layer_idx_(layer),
        tail_(state.open_rows(sequence, layer)),
        sinks_(state.sink_rows(sequence, layer)),
        stream_(stream) {}

  void run(const TensorView& keys, const TensorView& values);

 private:
  TensorView stored(const std::uint16_t* rows, std::int64_t head_stride) const {
    const CacheConfig& c = s_.config();
    return {rows, c.tail_dtype, c.num_kv_heads, kPage, c.head_dim, head_stride, c.head_dim, Device::cuda(s_.device)};
  }
  void copy(CopyRowsArgs args) const {
    if (args.count == 0) return;
    args.to_dtype = s_.config().tail_dtype;
    args.misfit = reinterpret_cast<std::int32_t*>(s_.misfit.data());
    args.stream = stream_;
    s_.backend.copy_rows(args);
  }
  void stage(const TensorView& rows, const std::uint16_t* tail, std::uint16_t* staging, std::int64_t first_page,
             std::int64_t count) const;
  void place(std::int64_t first_page, std::int64_t count) const;
  void encode(std::int64_t count) const;

  CudaCache::State& s_;
  Sequence& sequence_;
  Sequence::Layer& layer_;
  const int layer_idx_;
  const DeviceRows tail_, sinks_;
  const CudaStream stream_;
};

// Tokens of `count` pages into the scratch: those of the open page, then new ones.
void DeviceAppend::stage(const TensorView& rows, const std::uint16_t* tail, std::uint16_t* staging, std::int64_t first_page,
                         std::int64_t count) const {
  const std::int64_t stride = kMaxPlacedPages * kPage * rows.dim, first = first_page * kPage - layer_.length;
  const std::int64_t open = std::max<std::int64_t>(0, -first);
  copy(copy_of(stored(tail, tail_.head_stride), 0, open, staging, stride));
  copy(copy_of(rows, first + open, count * kPage - open, staging + open * rows.dim, stride));
}

void DeviceAppend::place(std::int64_t first_page, std::int64_t count) const {
  const CacheConfig& config = s_.config();
  const EncodeScratch& scratch = s_.scratch;
  const layout::PageShape& shape = s_.device_tables(layer_idx_).shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const SealedPages pages = s_.books.pool.sealed(layer_idx_, {});
  PlacePagesArgs args{};
  std::copy_n(sequence_.pages.begin() + first_page, count, args.page);
  args.first_page = sequence_.pages[0];
  args.count = static_cast<std::int32_t>(count);
  args.num_kv_heads = config.num_kv_heads;
  args.starts = first_page == 0;
  args.num_sinks = static_cast<std::uint8_t>(config.codec.sink_tokens);
  args.bodies = s_.body(layer_idx_, 0, 0);
  args.body_head_stride = pages.body_head_stride;
  args.body_page_stride = pages.body_page_stride;
  args.heads = s_.head(layer_idx_, 0, 0);
  args.head_head_stride = pages.head_head_stride;
  args.head_page_stride = pages.head_page_stride;
  args.keys = scratch.keys;
  args.values = scratch.values;
  args.row_head_stride = kMaxPlacedPages * kPage * config.head_dim;
  args.row_page_stride = kPage * config.head_dim;
  args.outlier_idx = at.outlier_idx;
  args.outlier_bytes = shape.outlier_channels > 0 ? at.key_norms - at.outlier_idx : 0;
  args.key_rows = scratch.key_rows;
  args.value_rows = scratch.value_rows;
  args.body_at = scratch.bodies;
  args.sinks_at = scratch.sinks;
  args.choose_at = scratch.choose;
  args.head_at = scratch.heads;
  args.stream = stream_;
  s_.backend.place_pages(args);
}

void DeviceAppend::encode(std::int64_t count) const {
  const EncodeScratch& scratch = s_.scratch;
  EncodeArgs args{.tables = &s_.device_tables(layer_idx_),
                  .row_dtype = s_.config().tail_dtype,
                  .count = count * s_.config().num_kv_heads,
                  .rows = scratch.key_rows,
                  .token_stride = s_.config().head_dim,
                  .num_sinks = scratch.sinks,
                  .choose_outliers = scratch.choose,
                  .bodies = scratch.bodies,
                  .heads = scratch.heads,
                  .workspace = nullptr,
                  .stream = stream_};
  s_.backend.encode_keys(args);
  args.rows = scratch.value_rows;
  s_.backend.encode_values(args);
}

void DeviceAppend::run(const TensorView& keys, const TensorView& values) {
  const CacheConfig& config = s_.config();
  const std::int64_t length = layer_.length, open_before = length % kPage, open_after = (length + keys.tokens) % kPage;
  const std::int64_t first_page = length / kPage, end_page = (length + keys.tokens) / kPage;
  const std::int64_t new_pages = std::max<std::int64_t>(0, end_page - std::ssize(sequence_.pages));
  s_.books.check_free(new_pages, "append");
  make_room(sequence_.pages, end_page);
  TakenPages(s_.books.pool, new_pages).keep(sequence_.pages);
  const EncodeScratch& scratch = s_.scratch;
  const bool outliers = s_.device_tables(layer_idx_).shape.outlier_channels > 0;
  for (std::int64_t page = first_page; page < end_page;) {
    // A sketch takes its outlier channels from the first page, so that one is coded before all others.
    const std::int64_t most = outliers && page == 0 ? 1 : kMaxPlacedPages, count = std::min(most, end_page - page);
    stage(keys, tail_.keys, scratch.keys, page, count);
    stage(values, tail_.values, scratch.values, page, count);
    place(page, count);
    encode(count);
    if (page == 0) {
      const std::int64_t stride = kMaxPlacedPages * kPage * config.head_dim, sinks = config.codec.sink_tokens;
      copy(copy_of(stored(scratch.keys, stride), 0, sinks, sinks_.keys, sinks_.head_stride));
      copy(copy_of(stored(scratch.values, stride), 0, sinks, sinks_.values, sinks_.head_stride));
    }
    page += count;
  }
  const std::int64_t start = end_page > first_page ? 0 : open_before, count = open_after - start, first = keys.tokens - count;
  copy(copy_of(keys, first, count, tail_.keys + start * keys.dim, tail_.head_stride));
  copy(copy_of(values, first, count, tail_.values + start * keys.dim, tail_.head_stride));
  layer_.length = length + keys.tokens;
}

}  // namespace

EncodeScratch encode_scratch(const CacheConfig& config, std::uint8_t* base) {
  DeviceCarver carver(base);
  const std::int64_t items = std::int64_t{kMaxPlacedPages} * config.num_kv_heads, numbers = items * kPage * config.head_dim;
  EncodeScratch scratch{};
  scratch.keys = carver.take<std::uint16_t>(numbers);
  scratch.values = carver.take<std::uint16_t>(numbers);
  scratch.key_rows = carver.take<const std::uint16_t*>(items);
  scratch.value_rows = carver.take<const std::uint16_t*>(items);
  scratch.bodies = carver.take<std::uint8_t*>(items);
  scratch.sinks = carver.take<std::uint8_t>(items);
  scratch.choose = carver.take<std::uint8_t>(items);
  scratch.heads = carver.take<layout::PageHead*>(items);
  scratch.bytes = carver.bytes();
  return scratch;
}

CudaCache::State::State(CacheConfig cache_config, int device_idx)
    : device(device_idx), backend(cuda::backend(device_idx)), books(checked(std::move(cache_config))) {
  const DeviceScope scope(backend, device);
  const CacheConfig& c = books.config;
  for (const CodecConstants& constants : books.constants) tables.emplace_back(backend, constants.tables());
  const int last = c.num_layers - 1;
  bodies = DeviceMemory(backend, books.pool.body(last, c.num_kv_heads, 0) - books.pool.body(0, 0, 0));
  heads = DeviceMemory(
      backend, std::int64_t{c.num_layers} * c.num_kv_heads * c.max_pages * static_cast<std::int64_t>(sizeof(layout::PageHead)));
  scratch_memory = DeviceMemory(backend, encode_scratch(c, nullptr).bytes);
  scratch = encode_scratch(c, scratch_memory.data());
  misfit = DeviceMemory(backend, sizeof(std::int32_t));
  backend.clear(misfit.data(), misfit.bytes(), nullptr);
  backend.wait(nullptr);
}

std::uint8_t* CudaCache::State::body(int layer, int kv_head, std::int32_t page) const {
  return bodies.data() + (books.pool.body(layer, kv_head, page) - books.pool.body(0, 0, 0));
}
layout::PageHead* CudaCache::State::head(int layer, int kv_head, std::int32_t page) const {
  return reinterpret_cast<layout::PageHead*>(heads.data()) + (books.pool.head(layer, kv_head, page) - books.pool.head(0, 0, 0));
}

std::int64_t CudaCache::State::rows_bytes() const {
  const CacheConfig& c = config();
  const std::int64_t tokens = kPage + c.codec.sink_tokens;
  return c.num_layers * 2 * c.num_kv_heads * tokens * c.head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
}
void CudaCache::State::check_memory(const void* at, const RowsName& name) const {
  if (at == nullptr) return;  // of no tokens
  const int holder = backend.holder(at);
  if (holder == device || holder == kAnyDevice) return;
  const std::string found = holder == kHostMemory ? "the host" : "CUDA device " + std::to_string(holder);
  fail(ErrorKind::invalid_argument, name.operation, name.tensor, " point to memory of ", found, ", wanted that of CUDA device ",
       device);
}
DeviceRows CudaCache::State::open_rows(SequenceId sequence, int layer) const {
  const CacheConfig& c = config();
  auto* data =
      reinterpret_cast<std::uint16_t*>(rows.at(static_cast<std::int64_t>(sequence)).data() + rows_bytes() / c.num_layers * layer);
  return {data, data + c.num_kv_heads * kPage * c.head_dim, kPage * c.head_dim};
}
DeviceRows CudaCache::State::sink_rows(SequenceId sequence, int layer) const {
  const CacheConfig& c = config();
  const std::int64_t stride = std::int64_t{c.codec.sink_tokens} * c.head_dim;
  const DeviceRows open = open_rows(sequence, layer);
  std::uint16_t* data = open.values + c.num_kv_heads * open.head_stride;
  return {data, data + c.num_kv_heads * stride, stride};
}

CudaCache::CudaCache(CacheConfig config, int device) : state_(std::make_unique<State>(std::move(config), device)) {}
CudaCache::~CudaCache() = default;

const CacheConfig& CudaCache::config() const { return state_->config(); }
int CudaCache::device() const { return state_->device; }

SequenceId CudaCache::create() {
  State& s = *state_;
  const DeviceScope scope(s.backend, s.device);
  if (s.spare_rows.empty()) s.spare_rows.emplace_back(s.backend, s.rows_bytes());
  const std::int64_t id = s.books.next_id;
  s.books.sequences.emplace(id, Sequence(s.config().num_layers));
  s.rows.emplace(id, std::move(s.spare_rows.back()));
  s.spare_rows.pop_back();
  ++s.books.next_id;
  return SequenceId{id};
}

void CudaCache::drop(SequenceId sequence) {
  State& s = *state_;
  for (const std::int32_t page : s.books.find(sequence, "drop").pages) s.books.pool.release(page);
  const auto found = s.rows.find(static_cast<std::int64_t>(sequence));
  s.spare_rows.push_back(std::move(found->second));
  s.rows.erase(found);
  s.books.sequences.erase(static_cast<std::int64_t>(sequence));
}

void CudaCache::append(SequenceId sequence, int layer, const TensorView& keys, const TensorView& values, CudaStream stream) {
  State& s = *state_;
  s.books.find(sequence, "append");
  s.books.check_layer(layer, "append");
  check_shape(keys, s.config().num_kv_heads, s.config().head_dim, {"append", "keys"}, Device::cuda(s.device));
  check_shape(values, s.config().num_kv_heads, s.config().head_dim, {"append", "values"}, Device::cuda(s.device));
  require(keys.tokens == values.tokens, "append", "values have ", values.tokens, " tokens, wanted ", keys.tokens, " as the keys");
  const DeviceScope scope(s.backend, s.device);
  if (keys.tokens == 0) return;
  s.check_memory(keys.data, {"append", "keys"});
  s.check_memory(values.data, {"append", "values"});
  DeviceAppend(s, sequence, layer, stream).run(keys, values);
}

std::int64_t CudaCache::num_tokens(SequenceId sequence, int layer) const {
  const Sequence& found = state_->books.find(sequence, "num_tokens");
  state_->books.check_layer(layer, "num_tokens");
  return found.layers[static_cast<std::size_t>(layer)].length;
}

std::int64_t CudaCache::free_pages() const { return state_->books.pool.free_pages(); }

std::int64_t CudaCache::device_bytes() const {
  const State& s = *state_;
  std::int64_t bytes = s.bodies.bytes() + s.heads.bytes() + s.scratch_memory.bytes() + s.misfit.bytes();
  for (const DeviceTables& tables : s.tables) bytes += tables.bytes();
  return bytes + s.rows_bytes() * static_cast<std::int64_t>(s.rows.size() + s.spare_rows.size());
}

void CudaCache::wait(CudaStream stream) {
  State& s = *state_;
  const DeviceScope scope(s.backend, s.device);
  std::int32_t misfit = 0;
  s.backend.copy(&misfit, s.misfit.data(), sizeof(misfit), stream);
  s.backend.wait(stream);
  if (misfit == 0) return;
  s.backend.clear(s.misfit.data(), s.misfit.bytes(), stream);
  s.backend.wait(stream);
  fail(ErrorKind::invalid_argument, "append",
       "keys or values had a number that the cache's format cannot hold (or NaN, or infinity), ", "wanted finite ones");
}

}  // namespace qjl
