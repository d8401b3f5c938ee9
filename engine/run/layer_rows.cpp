// RowsOnDevice: one buffer, grown on first use.
#include "layer_rows.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

}  // namespace

LayerRows RowsOnDevice::bring(Device device, const LayerRows& host, std::int64_t query_numbers, std::int64_t key_numbers) {
  const std::int64_t query_bytes = query_numbers * kFloat, key_bytes = key_numbers * kFloat, bytes = 2 * (query_bytes + key_bytes);
  if (buffer_.bytes() < bytes) buffer_ = DeviceBuffer(device, bytes);
  buffer_.write(0, host.query, query_bytes);
  buffer_.write(2 * query_bytes, host.key, key_bytes);
  buffer_.write(2 * query_bytes + key_bytes, host.value, key_bytes);
  auto* query = reinterpret_cast<float*>(buffer_.data());
  float* key = query + 2 * query_numbers;
  return {query, key, key + key_numbers, query + query_numbers};
}

void RowsOnDevice::take_back(const LayerRows& host, std::int64_t query_numbers) const {
  buffer_.read(query_numbers * kFloat, host.attended, query_numbers * kFloat);
}

}  // namespace qjl::engine
