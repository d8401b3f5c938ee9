// A hash of texts that others made: no file can hold keys that all fall into one bucket, for the multiplier is drawn when the program
// starts. (std::hash is the same everywhere, and texts of one value are easy to make.)
#pragma once

#include <cstddef>
#include <string_view>

namespace qjl::engine {

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept;
};

}  // namespace qjl::engine
