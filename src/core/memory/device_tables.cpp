// Counts the tables, then copies them; the sizes are those that args.hpp gives.
#include "device_tables.hpp"

namespace qjl {
namespace {

// Calls part(pointer, count) for every table that is there.
template <typename Part>
void each_table(CodecTables& t, const Part& part) {
  const std::int64_t d = t.shape.head_dim, pairs = t.turning_pairs;
  const bool keys = t.shape.key.rotated(), values = t.shape.value.rotated();
  const std::int64_t key_parts = t.shape.key.frames;
  const std::int64_t value_frames = layout::kFrames * t.shape.value.frames;
  if (t.hadamard && keys) part(t.key_sign_in, d), part(t.key_sign_mid, key_parts * d);
  if (t.hadamard && values) part(t.value_sign_in, d), part(t.value_sign_mid, value_frames * d);
  if (t.key_frames != nullptr) part(t.key_frames, key_parts * d * d);
  if (t.value_frames != nullptr) part(t.value_frames, value_frames * d * d);
  if (t.key_cross != nullptr) part(t.key_cross, d * d);
  if (t.value_cross != nullptr) part(t.value_cross, layout::kFrames * d * d);
  if (t.sketch != nullptr) part(t.sketch, t.shape.sketch_rows * d);
  if (t.outlier_sketch != nullptr) part(t.outlier_sketch, std::int64_t{t.shape.outlier_rows} * t.shape.outlier_channels);
  part(t.mean_order, d);
  if (pairs == 0) return;
  part(t.knot_cos, pairs * layout::kKnotStride);
  part(t.knot_sin, pairs * layout::kKnotStride);
  part(t.early_knots, pairs * (layout::kMeanKnots / 2) * 2);  // a cosine and a sine
}

}  // namespace

DeviceTables::DeviceTables(const Backend& backend, const CodecTables& host) : tables_(host) {
  DeviceCarver count(nullptr);
  each_table(tables_, [&]<typename T>(const T*&, std::int64_t numbers) { count.take<T>(numbers); });
  memory_ = DeviceMemory(backend, count.bytes());
  DeviceCarver carver(memory_.data());
  each_table(tables_, [&]<typename T>(const T*& table, std::int64_t numbers) {
    T* copy = carver.take<T>(numbers);
    backend.copy(copy, table, numbers * static_cast<std::int64_t>(sizeof(T)), nullptr);
    table = copy;
  });
  backend.wait(nullptr);
}

}  // namespace qjl
