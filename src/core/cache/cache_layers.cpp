// A cache's config checked, and the constants of its codecs on its device.
#include "cache_layers.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "codes.hpp"
#include "cpu_backend.hpp"
#include "cuda_backend.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

constexpr int kMaxLayers = 4096, kMaxKvHeads = 4096;
constexpr std::int64_t kMostRecurrentNumbers = std::int64_t{1} << 32;

void check_layers(const CacheConfig& c) {
  const auto check_size = [&](const char* name, std::size_t found) {
    require(found == 0 || static_cast<int>(found) == c.num_layers, "cache", name, " has ", found, " layers, wanted none or ",
            c.num_layers);
  };
  check_size("layer_codes", c.layer_codes.size());
  check_size("layer_ropes", c.layer_ropes.size());
  check_size("layer_windows", c.layer_windows.size());
  check_size("layer_retention", c.layer_retention.size());
  for (std::size_t layer = 0; layer < c.layer_ropes.size(); ++layer) {
    check_rope(c.head_dim, c.layer_ropes[layer], "layer " + std::to_string(layer) + ": ");
  }
  for (std::size_t layer = 0; layer < c.layer_windows.size(); ++layer) {
    require(c.layer_windows[layer] >= 0, "cache", "the window of layer ", layer, " is ", c.layer_windows[layer],
            ", wanted 0 or more");
  }
  for (std::size_t layer = 0; layer < c.layer_retention.size(); ++layer) {
    const std::int64_t kept = c.layer_retention[layer], window = c.layer_windows.empty() ? 0 : c.layer_windows[layer];
    require(kept == 0 || (kept >= std::max<std::int64_t>(window, 1) && kept <= kMostRetention), "cache", "the retention of layer ",
            layer, " is ", kept, ", wanted 0 (all tokens), or at least ", window > 0 ? "its window, " : "",
            std::max<std::int64_t>(window, 1), ", and at most ", kMostRetention);
  }
}

// As all of its users see it: nothing is forgotten where all retentions are 0.
CacheConfig checked(CacheConfig c) {
  check_layers_config(c);
  if (std::ranges::all_of(c.layer_retention, [](std::int64_t kept) { return kept == 0; })) c.layer_retention.clear();
  return c;
}

const Backend& backend_of(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu: return cpu::backend();
    case Device::Kind::cuda: return cuda::backend(device.index);
  }
  fail(ErrorKind::invalid_argument, "cache", "found a device of no kind, wanted the host or a CUDA device");
}

}  // namespace

void check_layers_config(const CacheConfig& c) {
  require(c.num_layers > 0 && c.num_layers <= kMaxLayers, "cache", "num_layers is ", c.num_layers, ", wanted 1 to ", kMaxLayers);
  require(c.num_kv_heads > 0 && c.num_kv_heads <= kMaxKvHeads, "cache", "num_kv_heads is ", c.num_kv_heads, ", wanted 1 to ",
          kMaxKvHeads);
  require(c.codec.sink_tokens >= 0 && c.codec.sink_tokens <= layout::kMaxSinks, "cache", "sink_tokens is ", c.codec.sink_tokens,
          ", wanted 0 to ", layout::kMaxSinks);
  require(c.recurrent_numbers >= 0 && c.recurrent_numbers <= kMostRecurrentNumbers, "cache", "recurrent_numbers is ",
          c.recurrent_numbers, ", wanted 0 to 2^32");
  require(c.tail_dtype == DType::f16 || c.tail_dtype == DType::bf16, "cache", "tail_dtype is f32, wanted f16 or bf16");
  check_layers(c);
}

void check_cache_config(const CacheConfig& c) {
  check_layers_config(c);
  require(c.max_pages > 0 && c.max_pages <= std::numeric_limits<std::int32_t>::max(), "cache", "max_pages is ", c.max_pages,
          ", wanted 1 to ", std::numeric_limits<std::int32_t>::max());
}

CacheLayers::CacheLayers(CacheConfig cache_config, Device where)
    : config(checked(std::move(cache_config))), device(where), backend(backend_of(where)) {
  std::vector<CodecConfig> known;
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const CodecConfig codec = layer_codec(config, layer);
    const auto same = [&codec](const CodecConfig& other) {
      return other.key_code == codec.key_code && other.value_code == codec.value_code && other.rope == codec.rope;
    };
    const auto index = static_cast<std::size_t>(std::ranges::find_if(known, same) - known.begin());
    if (index == known.size()) {
      known.push_back(codec);
      constants.emplace_back(config.head_dim, codec, config.tail_dtype);
    }
    constants_of_layer.push_back(index);
  }
  if (device == Device::cpu()) return;
  for (const CodecConfig& codec : known) {
    for (const Code code : {codec.key_code, codec.value_code}) {
      if (is_on_gpus(code)) continue;
      fail(ErrorKind::unsupported, "cache", "found code ", code_name(code), " on ", device_name(device),
           ", wanted another there: codes of strings are the host's");
    }
  }
  require(!config.on_seal, "cache", "found on_seal, wanted none on ", device_name(device), ": it runs on the host");
  if (std::ranges::find(layout::kHeadDims, config.head_dim) == std::end(layout::kHeadDims)) {
    fail(ErrorKind::unsupported, "cache", "found head_dim ", config.head_dim, ", wanted 64, 80, 96, 128 or 256 on ",
         device_name(device));
  }
  const DeviceScope scope = select();
  gpu = std::make_unique<DeviceState>(backend, config);
  for (const CodecConstants& each : constants) gpu->tables.emplace_back(backend, each.tables());
}

void CacheLayers::check_layer(int layer, std::string_view operation) const {
  require(layer >= 0 && layer < config.num_layers, operation, "layer is ", layer, ", wanted 0 to ", config.num_layers - 1);
}

void CacheLayers::check_memory(const void* at, const RowsName& name) const {
  if (at == nullptr || backend.holder == nullptr) return;
  const int holder = backend.holder(at);
  if (holder == device.index || holder == kAnyDevice) return;
  const std::string found = holder == kHostMemory ? "the host" : "CUDA device " + std::to_string(holder);
  fail(ErrorKind::invalid_argument, name.operation, name.tensor, " point to memory of ", found, ", wanted that of CUDA device ",
       device.index);
}

void CacheLayers::wait(const Queue& queue) const {
  const DeviceStream stream = stream_of(queue, device, "wait");
  if (!gpu) return;
  const DeviceScope scope = select();
  const DeviceMemory& flag = gpu->misfit;
  std::int32_t misfit = 0;
  backend.copy(&misfit, flag.data(), sizeof(misfit), stream);
  backend.wait(stream);
  if (misfit == 0) return;
  backend.clear(flag.data(), flag.bytes(), stream);
  backend.wait(stream);
  fail(ErrorKind::invalid_argument, "append",
       "keys or values had a number that the cache's format cannot hold (or NaN, or infinity), wanted finite ones");
}

std::int64_t CacheLayers::table_bytes() const {
  std::int64_t bytes = 0;
  for (const CodecConstants& each : constants) bytes += each.bytes();
  for (std::size_t i = 0; gpu && i < gpu->tables.size(); ++i) bytes += gpu->tables[i].bytes();
  return bytes;
}

std::vector<std::int64_t> CacheLayers::body_bytes() const {
  std::vector<std::int64_t> bytes;
  for (int layer = 0; layer < config.num_layers; ++layer) bytes.push_back(layout::body_layout(tables(layer).shape).bytes);
  return bytes;
}

}  // namespace qjl
