// The CUDA back end for tests: the same program runs on the host's threads (QJL_ON_HOST, simt/) and,
// linked with the library as it is, on a device. Without a device it skips and says why.
#pragma once

#include "cache_config.hpp"
#include "cuda_backend.hpp"
#include "device_tables.hpp"
#include "sealed_pages.hpp"
#include "turns.hpp"

namespace qjl::test {

inline const Backend& device_backend() { return cuda::backend(0); }

// Numbers in device memory.
template <typename T>
class OnDevice {
 public:
  OnDevice(const T* host, std::size_t count)
      : count_(count), memory_(device_backend(), static_cast<std::int64_t>(count * sizeof(T))) {
    if (host != nullptr) device_backend().copy(data(), host, memory_.bytes(), nullptr);
    device_backend().wait(nullptr);
  }
  explicit OnDevice(const std::vector<T>& host) : OnDevice(host.data(), host.size()) {}
  explicit OnDevice(std::size_t count) : OnDevice(nullptr, count) {}

  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  void read(T* host) const {
    device_backend().copy(host, data(), memory_.bytes(), nullptr);
    device_backend().wait(nullptr);
  }
  std::vector<T> host() const {
    std::vector<T> numbers(count_);
    read(numbers.data());
    return numbers;
  }

 private:
  std::size_t count_;
  DeviceMemory memory_;
};

// One page in and out of the device's memory, as the verbs of a CPU back end are called by tests: count 1, host memory.
inline void encode_on_device(const EncodeArgs& args, void (*verb)(const EncodeArgs&)) {
  const DeviceTables tables(device_backend(), *args.tables);
  const auto bytes = static_cast<std::size_t>(layout::body_layout(args.tables->shape).bytes);
  const OnDevice<std::uint16_t> rows(args.rows[0], static_cast<std::size_t>(kTokensPerPage * args.token_stride));
  const OnDevice<std::uint8_t> body(args.bodies[0], bytes), sinks(args.num_sinks, 1), choose(args.choose_outliers, 1);
  const OnDevice<layout::PageHead> head(args.heads[0], 1);
  const std::uint16_t* row_at = rows.data();
  std::uint8_t* body_at = body.data();
  layout::PageHead* head_at = head.data();
  const OnDevice<const std::uint16_t*> row_table(&row_at, 1);
  const OnDevice<std::uint8_t*> body_table(&body_at, 1);
  const OnDevice<layout::PageHead*> head_table(&head_at, 1);
  verb({&tables.tables(), args.row_dtype, 1, row_table.data(), args.token_stride, sinks.data(), choose.data(), body_table.data(),
        head_table.data(), nullptr});
  body.read(args.bodies[0]);
  head.read(args.heads[0]);
}

inline void decode_on_device(const DecodeArgs& args) {
  const DeviceTables tables(device_backend(), *args.tables);
  const auto numbers = static_cast<std::size_t>(kTokensPerPage * args.tables->shape.head_dim);
  const OnDevice<std::uint8_t> body(args.body, static_cast<std::size_t>(layout::body_layout(args.tables->shape).bytes));
  const OnDevice<layout::PageHead> head(args.head, 1);
  const OnDevice<float> keys(numbers), values(numbers);
  device_backend().decode({&tables.tables(), head.data(), body.data(), args.keys ? keys.data() : nullptr,
                           args.values ? values.data() : nullptr, nullptr});
  if (args.keys) keys.read(args.keys);
  if (args.values) values.read(args.values);
}

// The verbs that write and read back single pages, as a CPU back end.
inline const Backend& device_verbs() {
  static const Backend verbs = [] {
    Backend b{};
    b.name = "cuda";
    b.encode_workspace_bytes = [](const CodecTables&) { return std::size_t{64}; };
    b.attend_workspace_bytes = b.encode_workspace_bytes;
    b.encode_keys = [](const EncodeArgs& args) { encode_on_device(args, device_backend().encode_keys); };
    b.encode_values = [](const EncodeArgs& args) { encode_on_device(args, device_backend().encode_values); };
    b.decode = decode_on_device;
    return b;
  }();
  return verbs;
}

}  // namespace qjl::test
