// Instructions of a token: the difference of two contexts over the difference of their tokens, so that what a call costs by itself
// drops out.
#include "cost.hpp"

#include <optional>
#include <string>

#include "counter.hpp"
#include "page.hpp"
#include "qjl/config.hpp"
#include "qjl/simd.hpp"
#include "qjl_case.hpp"

namespace qjl::bench {
namespace {

constexpr const char* kPresets[] = {"k2v2", "k3v2", "k3v3", "k4v3", "k4v4"};
constexpr std::int64_t kShort = 2048, kLong = 6144;

Json bytes_json(const std::string& preset, int head_dim) {
  const CodecConfig codec = codec_config(preset);
  const layout::PageShape shape{.head_dim = head_dim, .key_code = codec.key_code, .value_code = codec.value_code};
  const layout::BodyLayout at = layout::body_layout(shape);
  const auto a_token = [](std::int64_t bytes) { return static_cast<double>(bytes) / layout::kPageTokens; };
  const std::int64_t page = layout::page_bytes(shape), keys = at.outlier_keys - at.keys, values = at.bytes - at.values;
  const std::int64_t scales = at.outlier_idx - at.key_scales;
  return {{"kind", "cost"},
          {"cpu_target", simd_target_name(simd_target())},
          {"cache", preset},
          {"head_dim", head_dim},
          {"head_and_mean", a_token(page - keys - values - scales)},
          {"scales", a_token(scales)},
          {"keys", a_token(keys)},
          {"values", a_token(values)},
          {"bytes", a_token(page)},
          {"bits_per_number", 8.0 * a_token(page) / (2.0 * head_dim)}};
}

Json instructions(const std::string& preset, int head_dim, int group, ThreadPool& pool) {
  QjlCase our({preset, head_dim, 1, kLong}, pool);
  const auto count = [&] { return count_instructions([&] { our.attend(group, pool); }); };
  const auto most = count();
  our.truncate(kShort);
  const auto least = count();
  if (!most || !least) return nullptr;
  return static_cast<double>(*most - *least) / static_cast<double>(kLong - kShort);
}

}  // namespace

Json cost_report() {
  const auto pool = pinned_pool(1);
  Json rows = Json::array();
  for (const int head_dim : {64, 128}) {
    for (const char* preset : kPresets) {
      Json row = bytes_json(preset, head_dim);
      for (const int group : {1, 4, 8}) {
        row["group"] = group;
        row["instructions"] = instructions(preset, head_dim, group, *pool);
        rows.push_back(row);
      }
    }
  }
  return rows;
}

}  // namespace qjl::bench
