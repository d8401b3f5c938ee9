#include "cost.hpp"

#include <string>

#include "page.hpp"
#include "qjl/config.hpp"

namespace qjl::bench {
namespace {

constexpr const char* kPresets[] = {"k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "f16"};

Json preset_json(const std::string& preset, int head_dim) {
  const CodecConfig codec = codec_config(preset);
  const layout::PageShape shape{.head_dim = head_dim, .key_code = codec.key_code, .value_code = codec.value_code};
  const layout::BodyLayout at = layout::body_layout(shape);
  const auto a_token = [](std::int64_t bytes) { return static_cast<double>(bytes) / layout::kPageTokens; };
  const std::int64_t page = layout::page_bytes(shape), numbers = 2 * std::int64_t{head_dim} * layout::kPageTokens;
  return {{"kind", "cost"},
          {"cache", preset},
          {"head_dim", head_dim},
          {"mean_and_head", a_token(page - at.bytes + (at.key_scales - at.mean))},
          {"scales", a_token(at.outlier_idx - at.key_scales)},
          {"keys", a_token(at.outlier_keys - at.keys)},
          {"values", a_token(at.bytes - at.values)},
          {"bytes", a_token(page)},
          {"bits_per_number", 8.0 * static_cast<double>(page) / static_cast<double>(numbers)},
          {"exact_bytes_ratio", 4.0 * head_dim / a_token(page)}};
}

}  // namespace

Json cost_report() {
  Json rows = Json::array();
  for (const int head_dim : {64, 128}) {
    for (const char* preset : kPresets) rows.push_back(preset_json(preset, head_dim));
  }
  return rows;
}

}  // namespace qjl::bench
