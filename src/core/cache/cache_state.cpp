// What a cache is made of: its config checked, the constants of its codecs, pages and rows on its device.
#include "cache_state.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "cpu_backend.hpp"
#include "cuda_backend.hpp"
#include "fail.hpp"

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

const Backend& backend_of(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu: return cpu::backend();
    case Device::Kind::cuda: return cuda::backend(device.index);
  }
  fail(ErrorKind::invalid_argument, "cache", "found a device of no kind, wanted the host or a CUDA device");
}

}  // namespace

void check_cache_config(const CacheConfig& c) {
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

KvCache::State::Codecs KvCache::State::make_codecs(const CacheConfig& config) {
  check_cache_config(config);
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

}  // namespace qjl
