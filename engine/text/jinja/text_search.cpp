// memmem is linear in glibc, musl and the BSDs; std::string's own search is not.
#include "text_search.hpp"

#include <algorithm>
#include <cstring>
#include <string>

namespace qjl::engine::jinja {

std::size_t find_first(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const std::string_view rest = text.substr(from);
  const void* found = rest.empty() ? nullptr : memmem(rest.data(), rest.size(), part.data(), part.size());
  return found == nullptr ? std::string_view::npos : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

// Mirrored, in stretches from the end that double: what is found near the end costs little.
std::size_t find_last(std::string_view text, std::string_view part) {
  constexpr std::size_t kShort = 16;
  if (part.size() <= kShort || part.size() > text.size()) return text.rfind(part);
  const std::string mirrored(part.rbegin(), part.rend());
  for (std::size_t wanted = 2 * part.size();; wanted *= 2) {
    const std::string_view end = text.substr(text.size() - std::min(wanted, text.size()));
    const std::size_t at = find_first(std::string(end.rbegin(), end.rend()), mirrored);
    if (at != std::string_view::npos) return text.size() - at - part.size();
    if (end.size() == text.size()) return std::string_view::npos;
  }
}

}  // namespace qjl::engine::jinja
