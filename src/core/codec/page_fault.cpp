// The head of a page beside the shape that a cache or codec was made for, and the channels that a kernel would index with.
#include "page_fault.hpp"

#include <cmath>
#include <sstream>

namespace qjl {
namespace {

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace

std::string page_fault(const layout::PageHead& head, const std::uint8_t* body, const layout::PageShape& shape) {
  if (head.format_version != layout::kFormatVersion) {
    return text("found page format version ", int{head.format_version}, ", wanted ", layout::kFormatVersion);
  }
  const int key = static_cast<int>(shape.key_code), value = static_cast<int>(shape.value_code);
  if (head.key_code != key || head.value_code != value) {
    return text("found a page of codes ", int{head.key_code}, " and ", int{head.value_code}, ", wanted ", key, " and ", value);
  }
  if (head.num_sinks > layout::kMaxSinks) {
    return text("found ", int{head.num_sinks}, " sinks in a page, wanted at most ", layout::kMaxSinks);
  }
  for (const float scale : {head.mean_scale, head.key_scale_max, head.value_scale_max}) {
    if (!std::isfinite(scale)) return text("found a scale of ", scale, " in a page's head, wanted finite numbers");
  }
  const std::int64_t outliers = layout::body_layout(shape).outlier_idx;
  for (int i = 0; i < shape.outlier_channels; ++i) {
    const int channel = body[outliers + i];
    if (channel >= shape.head_dim) return text("found outlier channel ", channel, ", wanted less than ", shape.head_dim);
  }
  return "";
}

}  // namespace qjl
