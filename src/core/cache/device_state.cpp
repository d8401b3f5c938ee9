// DeviceState: takes the scratch memory of a cache on a GPU and lays it out.
#include "device_state.hpp"

namespace qjl {
namespace {

EncodeScratch encode_scratch(const CacheConfig& config, std::uint8_t* base) {  // base null: only bytes
  DeviceCarver carver(base);
  const std::int64_t items = std::int64_t{kMaxPlacedPages} * config.num_kv_heads;
  const std::int64_t numbers = items * layout::kPageTokens * config.head_dim;
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

}  // namespace

DeviceState::DeviceState(const Backend& backend, const CacheConfig& config)
    : scratch_memory(backend, encode_scratch(config, nullptr).bytes), misfit(backend, sizeof(std::int32_t)) {
  scratch = encode_scratch(config, scratch_memory.data());
  backend.clear(misfit.data(), misfit.bytes(), nullptr);
  backend.wait(nullptr);
}

std::int64_t DeviceState::scratch_bytes() const {
  std::int64_t bytes = scratch_memory.bytes() + misfit.bytes();
  for (const DeviceMemory& rows : spare_rows) bytes += rows.bytes();
  return bytes;
}

}  // namespace qjl
