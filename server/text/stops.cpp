// Cost of a piece: its length and the longest stop's, times the stops.
#include "stops.hpp"

#include <algorithm>
#include <utility>

namespace qjl::server {
namespace {

// Bytes at the end of `text` that begin `stop`.
std::size_t begun(std::string_view text, std::string_view stop) {
  for (std::size_t size = std::min(text.size(), stop.size() - 1); size > 0; --size) {
    if (text.substr(text.size() - size) == stop.substr(0, size)) return size;
  }
  return 0;
}

}  // namespace

// The stop that is whole first counts, of two that end together the longer: so the pieces that a text comes in change nothing.
std::string StopFinder::feed(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t first_end = std::string::npos, begin = 0, kept = 0;
  for (const std::string& stop : stops_) {
    const std::size_t found = held_.find(stop);
    const std::size_t end = found == std::string::npos ? found : found + stop.size();
    if (end < first_end || (end == first_end && end != std::string::npos && found < begin)) begin = found;
    first_end = std::min(first_end, end);
    kept = std::max(kept, begun(held_, stop));
  }
  stopped_ = first_end != std::string::npos;
  const std::size_t size = stopped_ ? begin : held_.size() - kept;
  std::string out = held_.substr(0, size);
  held_.erase(0, stopped_ ? held_.size() : size);
  return out;
}

std::string StopFinder::finish() { return std::exchange(held_, {}); }

}  // namespace qjl::server
