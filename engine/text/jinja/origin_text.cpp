// Stretches are a sorted list of ends: a place is found by halving.
#include "origin_text.hpp"

#include <algorithm>

namespace qjl::engine::jinja {

std::size_t OriginText::stretch_at(std::size_t byte) const {
  const auto after = [](std::size_t at, const Stretch& stretch) { return at < stretch.end; };
  return static_cast<std::size_t>(std::upper_bound(stretches_.begin(), stretches_.end(), byte, after) - stretches_.begin());
}

Origin OriginText::origin_at(std::size_t byte) const { return stretches_[stretch_at(byte)].origin; }

bool OriginText::has_words() const {
  return std::any_of(stretches_.begin(), stretches_.end(), [](const Stretch& one) { return one.origin == Origin::words; });
}

void OriginText::append(std::string_view bytes, Origin origin) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (stretches_.empty() || stretches_.back().origin != origin) {
    stretches_.push_back({bytes_.size(), origin});
  } else {
    stretches_.back().end = bytes_.size();
  }
}

void OriginText::append(const OriginText& text) { append(text, 0, text.size()); }

void OriginText::append(const OriginText& text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.bytes_;
  for (std::size_t i = begin < end ? text.stretch_at(begin) : 0; begin < end; ++i) {
    const Stretch stretch = text.stretches_[i];
    const std::size_t stop = std::min(stretch.end, end);
    append(all.substr(begin, stop - begin), stretch.origin);
    begin = stop;
  }
}

OriginText OriginText::slice(std::size_t begin, std::size_t end) const {
  OriginText part;
  part.append(*this, begin, end);
  return part;
}

}  // namespace qjl::engine::jinja
