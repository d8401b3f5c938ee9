// Bits without their sign, as whole numbers, are in the order of magnitudes; infinity and every NaN stand above all finite ones.
#include "finite.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "qjl/error.hpp"

namespace qjl::engine {

void require_finite(std::span<const float> numbers, std::string_view what) {
  constexpr auto kMagnitude = static_cast<std::uint32_t>(std::numeric_limits<std::int32_t>::max());
  std::uint32_t most{};
  for (const float x : numbers) most = std::max(most, std::bit_cast<std::uint32_t>(x) & kMagnitude);
  if (most < std::bit_cast<std::uint32_t>(std::numeric_limits<float>::infinity())) return;
  const auto bad = std::ranges::find_if(numbers, [](float x) { return !std::isfinite(x); });
  throw Error(ErrorKind::bad_file, "[measure] found " + std::to_string(*bad) + " among the model's " + std::string(what) +
                                       ", wanted finite numbers: its weights are damaged");
}

}  // namespace qjl::engine
