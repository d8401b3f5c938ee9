// RowsOnDevice: one buffer, grown on first use.
#include "layer_rows.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

}  // namespace

LayerRows RowsOnDevice::bring(Device device, const LayerRows& host, const LayerNumbers& numbers) {
  const std::int64_t query_bytes = numbers.query * kFloat, key_bytes = numbers.key * kFloat;
  const std::int64_t bytes = 2 * (query_bytes + key_bytes) + numbers.lse * kFloat;
  if (buffer_.bytes() < bytes) buffer_ = DeviceBuffer(device, bytes);
  buffer_.write(0, host.query, query_bytes);
  buffer_.write(2 * query_bytes, host.key, key_bytes);
  buffer_.write(2 * query_bytes + key_bytes, host.value, key_bytes);
  auto* query = reinterpret_cast<float*>(buffer_.data());
  float *key = query + 2 * numbers.query, *value = key + numbers.key;
  return {query, key, value, query + numbers.query, host.lse == nullptr ? nullptr : value + numbers.key};
}

void RowsOnDevice::take_back(const LayerRows& host, const LayerNumbers& numbers) const {
  buffer_.read(numbers.query * kFloat, host.attended, numbers.query * kFloat);
  if (host.lse != nullptr) buffer_.read(2 * (numbers.query + numbers.key) * kFloat, host.lse, numbers.lse * kFloat);
}

}  // namespace qjl::engine
