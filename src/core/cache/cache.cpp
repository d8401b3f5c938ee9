// KvCache: its doors but truncate (truncate.cpp). Every member checks and takes what may fail first and
// changes the cache last, so that an error leaves everything as it was.
#include "qjl/cache.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>

#include "append.hpp"
#include "cache_state.hpp"
#include "cpu_backend.hpp"
#include "cuda_backend.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

constexpr int kMaxLayers = 4096, kMaxKvHeads = 4096;

void check_layers(const CacheConfig& c) {
  const auto check_size = [&](const char* name, std::size_t found) {
    require(found == 0 || static_cast<int>(found) == c.num_layers, "cache", name, " has ", found, " layers, wanted none or ",
            c.num_layers);
  };
  check_size("layer_codes", c.layer_codes.size());
  check_size("layer_ropes", c.layer_ropes.size());
  check_size("layer_windows", c.layer_windows.size());
  for (std::size_t layer = 0; layer < c.layer_ropes.size(); ++layer) {
    check_rope(c.head_dim, c.layer_ropes[layer], "layer " + std::to_string(layer) + ": ");
  }
  for (std::size_t layer = 0; layer < c.layer_windows.size(); ++layer) {
    require(c.layer_windows[layer] >= 0, "cache", "the window of layer ", layer, " is ", c.layer_windows[layer],
            ", wanted 0 or more");
  }
}

void check_config(const CacheConfig& c) {
  require(c.num_layers > 0 && c.num_layers <= kMaxLayers, "cache", "num_layers is ", c.num_layers, ", wanted 1 to ", kMaxLayers);
  require(c.num_kv_heads > 0 && c.num_kv_heads <= kMaxKvHeads, "cache", "num_kv_heads is ", c.num_kv_heads, ", wanted 1 to ",
          kMaxKvHeads);
  require(c.max_pages > 0 && c.max_pages <= std::numeric_limits<std::int32_t>::max(), "cache", "max_pages is ", c.max_pages,
          ", wanted 1 to ", std::numeric_limits<std::int32_t>::max());
  require(c.codec.sink_tokens >= 0 && c.codec.sink_tokens <= layout::kMaxSinks, "cache", "sink_tokens is ", c.codec.sink_tokens,
          ", wanted 0 to ", layout::kMaxSinks);
  require(c.tail_dtype == DType::f16 || c.tail_dtype == DType::bf16, "cache", "tail_dtype is f32, wanted f16 or bf16");
  check_layers(c);
}

const Backend& backend_of(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu: return cpu::backend();
    case Device::Kind::cuda: return cuda::backend(device.index);
  }
  fail(ErrorKind::invalid_argument, "cache", "found a device of no kind, wanted the host or a CUDA device");
}

// A copy of the rows: on the host both sides hold the same blocks.
void copy_rows_of(const KvCache::State& s, const Sequence& from, Sequence& to, DeviceStream stream) {
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    to.layers[i].length = from.layers[i].length;
    if (!s.gpu) to.layers[i].tail = from.layers[i].tail, to.layers[i].sinks = from.layers[i].sinks;
  }
  if (s.gpu) s.backend.copy(to.rows.data(), from.rows.data(), to.rows.bytes(), stream);
}

std::int64_t node_bytes() {  // a node of std::unordered_map: next pointer and pair; the pair's Sequence is counted by itself
  return static_cast<std::int64_t>(sizeof(std::pair<std::int64_t, Sequence>) - sizeof(Sequence) + 2 * sizeof(void*));
}

}  // namespace

KvCache::State::Codecs KvCache::State::make_codecs(const CacheConfig& config) {
  check_config(config);
  Codecs codecs;
  std::vector<CodecConfig> known;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const CodecConfig codec = layer_codec(config, layer);
    const auto same = [&codec](const CodecConfig& other) {
      return other.key_code == codec.key_code && other.value_code == codec.value_code && other.rope == codec.rope;
    };
    const auto index = static_cast<std::size_t>(std::ranges::find_if(known, same) - known.begin());
    if (index == known.size()) {
      known.push_back(codec);
      codecs.constants.emplace_back(config.head_dim, codec, config.tail_dtype);
    }
    codecs.of_layer.push_back(index);
    codecs.body_bytes.push_back(layout::body_layout(codecs.constants[index].tables().shape).bytes);
  }
  return codecs;
}

KvCache::State::State(CacheConfig cache_config, Device where) : State(cache_config, where, make_codecs(cache_config)) {}

KvCache::State::State(CacheConfig cache_config, Device where, Codecs codecs)
    : config(std::move(cache_config)),
      device(where),
      backend(backend_of(where)),
      constants(std::move(codecs.constants)),
      constants_of_layer(std::move(codecs.of_layer)),
      pool([&] {
        const DeviceScope scope = select();
        return PagePool(std::move(codecs.body_bytes), config.num_kv_heads, config.max_pages, backend);
      }()) {
  if (device == Device::cpu()) return;
  require(!config.on_seal, "cache", "found on_seal, wanted none on ", device_name(device), ": it runs on the host");
  const DeviceScope scope = select();
  gpu = std::make_unique<DeviceState>(backend, config);
  for (const CodecConstants& each : constants) gpu->tables.emplace_back(backend, each.tables());
}

const Sequence& KvCache::State::find(SequenceId id, std::string_view operation) const {
  const auto found = sequences.find(static_cast<std::int64_t>(id));
  require(found != sequences.end(), operation, "sequence ", static_cast<std::int64_t>(id), " does not exist, wanted one of the ",
          sequences.size(), " that live");
  return found->second;
}

Sequence& KvCache::State::find(SequenceId id, std::string_view operation) {
  return const_cast<Sequence&>(std::as_const(*this).find(id, operation));
}

void KvCache::State::check_layer(int layer, std::string_view operation) const {
  require(layer >= 0 && layer < config.num_layers, operation, "layer is ", layer, ", wanted 0 to ", config.num_layers - 1);
}

void KvCache::State::check_free(std::int64_t wanted, std::string_view operation) const {
  if (wanted <= pool.free_pages()) return;
  fail(ErrorKind::out_of_pages, operation, wanted, " pages are wanted, ", pool.free_pages(), " of ", pool.capacity(), " are free");
}

void KvCache::State::check_memory(const void* at, const RowsName& name) const {
  if (at == nullptr || backend.holder == nullptr) return;
  const int holder = backend.holder(at);
  if (holder == device.index || holder == kAnyDevice) return;
  const std::string found = holder == kHostMemory ? "the host" : "CUDA device " + std::to_string(holder);
  fail(ErrorKind::invalid_argument, name.operation, name.tensor, " point to memory of ", found, ", wanted that of CUDA device ",
       device.index);
}

std::int64_t KvCache::State::rows_bytes() const {
  const std::int64_t tokens = layout::kPageTokens + config.codec.sink_tokens;
  return config.num_layers * RowBlock::bytes_of(config.num_kv_heads, tokens, config.head_dim);
}

// On a GPU every layer's tail and sinks stand one after the other in the memory of its sequence.
Sequence KvCache::State::new_sequence() {
  Sequence sequence(config.num_layers);
  if (!gpu) return sequence;
  if (gpu->spare_rows.empty()) gpu->spare_rows.emplace_back(backend, rows_bytes());
  auto* memory = reinterpret_cast<std::uint16_t*>(gpu->spare_rows.back().data());
  const auto block = [&](std::int64_t tokens) {
    auto rows = std::make_shared<RowBlock>(memory, config.num_kv_heads, tokens, config.head_dim);
    memory += RowBlock::bytes_of(config.num_kv_heads, tokens, config.head_dim) / static_cast<std::int64_t>(sizeof(*memory));
    return rows;
  };
  for (Sequence::Layer& layer : sequence.layers) {
    layer.tail = block(layout::kPageTokens);
    if (config.codec.sink_tokens > 0) layer.sinks = block(config.codec.sink_tokens);
  }
  sequence.rows = std::move(gpu->spare_rows.back());
  gpu->spare_rows.pop_back();
  return sequence;
}

SequenceId KvCache::State::add(Sequence sequence) {
  sequences.emplace(next_id, std::move(sequence));
  return SequenceId{next_id++};
}

void make_room(std::vector<std::int32_t>& table, std::int64_t count) {
  const auto wanted = static_cast<std::size_t>(count);
  if (wanted > table.capacity()) table.reserve(std::max(wanted, 2 * table.capacity()));
}

KvCache::KvCache(CacheConfig config, Device device) : state_(std::make_unique<State>(std::move(config), device)) {}
KvCache::~KvCache() = default;

const CacheConfig& KvCache::config() const { return state_->config; }
Device KvCache::device() const { return state_->device; }

SequenceId KvCache::create() {
  const DeviceScope scope = state_->select();
  return state_->add(state_->new_sequence());
}

SequenceId KvCache::fork(SequenceId sequence, Queue queue) {
  State& s = *state_;
  const DeviceScope scope = s.select();
  const DeviceStream stream = s.gpu ? stream_of(queue, s.device, "fork") : (threads_of(queue, "fork"), nullptr);
  const Sequence& parent = s.find(sequence, "fork");
  const std::int64_t shared = parent.shortest() / layout::kPageTokens, all = parent.longest() / layout::kPageTokens;
  s.check_free(all - shared, "fork");
  Sequence child = s.new_sequence();
  make_room(child.pages, all);
  child.pages.assign(parent.pages.begin(), parent.pages.begin() + shared);
  TakenPages taken(s.pool, all - shared);
  copy_rows_of(s, parent, child, stream);
  // Pages that only some layers have sealed will still be written by both sides: each side gets its own.
  for (std::int64_t i = shared; i < all; ++i) {
    for (int layer = 0; layer < s.config.num_layers; ++layer) {
      if (i >= parent.layers[static_cast<std::size_t>(layer)].length / layout::kPageTokens) continue;
      s.pool.copy(layer, parent.pages[static_cast<std::size_t>(i)], taken.pages()[static_cast<std::size_t>(i - shared)], stream);
    }
  }
  const SequenceId id = s.add(std::move(child));  // the last step that may fail
  std::vector<std::int32_t>& pages = s.find(id, "fork").pages;
  for (const std::int32_t page : pages) s.pool.share(page);
  taken.keep(pages);
  return id;
}

void KvCache::drop(SequenceId sequence) {
  Sequence& dropped = state_->find(sequence, "drop");
  if (state_->gpu) state_->gpu->spare_rows.push_back(std::move(dropped.rows));
  for (const std::int32_t page : dropped.pages) state_->pool.release(page);
  state_->sequences.erase(static_cast<std::int64_t>(sequence));
}

void KvCache::reserve(SequenceId sequence, std::int64_t num_tokens) {
  Sequence& found = state_->find(sequence, "reserve");
  require(num_tokens >= 0, "reserve", "num_tokens is ", num_tokens, ", wanted 0 or more");
  const std::int64_t pages = num_tokens / layout::kPageTokens, wanted = pages - static_cast<std::int64_t>(found.pages.size());
  if (wanted <= 0) return;
  state_->check_free(wanted, "reserve");
  make_room(found.pages, pages);
  TakenPages(state_->pool, wanted).keep(found.pages);
}

void KvCache::append(SequenceId sequence, int layer, const TensorView& keys, const TensorView& values, Queue queue) {
  State& s = *state_;
  Sequence& found = s.find(sequence, "append");
  s.check_layer(layer, "append");
  check_shape(keys, s.config.num_kv_heads, s.config.head_dim, {"append", "keys"}, s.device);
  check_shape(values, s.config.num_kv_heads, s.config.head_dim, {"append", "values"}, s.device);
  require(keys.tokens == values.tokens, "append", "values have ", values.tokens, " tokens, wanted ", keys.tokens, " as the keys");
  if (!s.gpu) {
    ThreadPool& threads = threads_of(queue, "append");
    if (keys.tokens > 0) append_on_host(s, found, layer, keys, values, threads);
    return;
  }
  const DeviceStream stream = stream_of(queue, s.device, "append");
  const DeviceScope scope = s.select();
  if (keys.tokens == 0) return;
  s.check_memory(keys.data, {"append", "keys"});
  s.check_memory(values.data, {"append", "values"});
  append_on_device(s, found, layer, keys, values, stream);
}

void KvCache::wait(Queue queue) {
  State& s = *state_;
  if (!s.gpu) return static_cast<void>(threads_of(queue, "wait"));
  const DeviceStream stream = stream_of(queue, s.device, "wait");
  const DeviceScope scope = s.select();
  const DeviceMemory& flag = s.gpu->misfit;
  std::int32_t misfit = 0;
  s.backend.copy(&misfit, flag.data(), sizeof(misfit), stream);
  s.backend.wait(stream);
  if (misfit == 0) return;
  s.backend.clear(flag.data(), flag.bytes(), stream);
  s.backend.wait(stream);
  fail(ErrorKind::invalid_argument, "append",
       "keys or values had a number that the cache's format cannot hold (or NaN, or infinity), wanted finite ones");
}

std::int64_t KvCache::num_tokens(SequenceId sequence, int layer) const {
  const Sequence& found = state_->find(sequence, "num_tokens");
  state_->check_layer(layer, "num_tokens");
  return found.layers[static_cast<std::size_t>(layer)].length;
}

std::int64_t KvCache::num_tokens(SequenceId sequence) const { return state_->find(sequence, "num_tokens").shortest(); }

std::int64_t KvCache::free_pages() const { return state_->pool.free_pages(); }

MemoryReport KvCache::memory_report() const {
  const State& s = *state_;
  const PagePool::Bytes pool = s.pool.bytes();
  MemoryReport report;
  report.sealed_pages = pool.sealed;
  report.free_pages = pool.free;
  report.page_tables = pool.records + static_cast<std::int64_t>(sizeof(State) + s.sequences.bucket_count() * sizeof(void*));
  std::unordered_set<const RowBlock*> counted{nullptr};  // forks share blocks
  for (const auto& [id, sequence] : s.sequences) {
    report.page_tables += node_bytes() + sequence.record_bytes();
    report.num_tokens += sequence.shortest();
    for (const Sequence::Layer& layer : sequence.layers) {
      if (counted.insert(layer.tail.get()).second) report.tails += layer.tail->bytes();
      if (counted.insert(layer.sinks.get()).second) report.sinks += layer.sinks->bytes();
    }
  }
  for (const CodecConstants& constants : s.constants) report.codec_tables += constants.bytes();
  if (!s.gpu) return report;
  for (const DeviceTables& tables : s.gpu->tables) report.codec_tables += tables.bytes();
  report.scratch = s.gpu->scratch_bytes();
  return report;
}

std::int64_t KvCache::page_bytes(int layer) const {
  state_->check_layer(layer, "page_bytes");
  return layout::page_bytes(state_->tables(layer).shape);
}

double KvCache::bits() const {
  const MemoryReport report = memory_report();
  const CacheConfig& c = config();
  const double numbers = 2.0 * static_cast<double>(report.num_tokens) * c.num_layers * c.num_kv_heads * c.head_dim;
  return numbers > 0 ? 8.0 * static_cast<double>(report.total()) / numbers : 0.0;
}

double KvCache::bits_sealed() const {
  const CacheConfig& c = state_->config;
  std::int64_t bytes = 0;
  for (int layer = 0; layer < c.num_layers; ++layer) bytes += page_bytes(layer);
  return 8.0 * static_cast<double>(bytes) / (2.0 * layout::kPageTokens * c.head_dim * c.num_layers);
}

KvCache::PageBytes KvCache::page(SequenceId sequence, int layer, int kv_head, std::int64_t page_idx) const {
  const State& s = *state_;
  if (s.gpu) fail(ErrorKind::unsupported, "page", "found a cache on ", device_name(s.device), ", wanted one of the host");
  const Sequence& found = s.find(sequence, "page");
  s.check_layer(layer, "page");
  require(kv_head >= 0 && kv_head < s.config.num_kv_heads, "page", "kv head is ", kv_head, ", wanted 0 to ",
          s.config.num_kv_heads - 1);
  const std::int64_t sealed = found.layers[static_cast<std::size_t>(layer)].length / layout::kPageTokens;
  require(page_idx >= 0 && page_idx < sealed, "page", "page is ", page_idx, ", wanted one of the ", sealed, " sealed ones");
  const std::int32_t page = found.pages[static_cast<std::size_t>(page_idx)];
  const auto* head = reinterpret_cast<const std::byte*>(s.pool.head(layer, kv_head, page));
  const auto* body = reinterpret_cast<const std::byte*>(s.pool.body(layer, kv_head, page));
  return {{head, sizeof(layout::PageHead)}, {body, static_cast<std::size_t>(s.pool.body_bytes(layer))}};
}

}  // namespace qjl
