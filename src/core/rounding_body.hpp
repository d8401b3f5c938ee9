// The stretches of rounding.hpp for one target: included inside its namespace after kStep and half_step(), which rounds kStep
// numbers. The loops have no branch, so that the compiler makes vectors of them.

// float_to_half() without a branch. A test compares the two.
inline std::uint16_t to_half(float number) {
  // From 65536 on, and NaN: all like 65536, which becomes infinity.
  constexpr std::int32_t kBeyond = 0x47800000;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  const auto magnitude = static_cast<std::uint32_t>(std::min(static_cast<std::int32_t>(bits & 0x7FFFFFFF), kBeyond));
  // Normal: exponent rebiased by -112, half of the last place minus one added, and one more when the last place is odd.
  const std::uint32_t normal = (magnitude + 0xC8000FFFu + (magnitude >> 13 & 1)) >> 13;
  // Below 2^-14 the processor rounds: 0.5 + x has its last place at 2^-24, that of a subnormal number.
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  return static_cast<std::uint16_t>((static_cast<std::int32_t>(magnitude) < 0x38800000 ? subnormal : normal) |
                                    (bits >> 16 & 0x8000));
}

inline void stretch_to_half(const float* in, std::int64_t count, std::uint16_t* out) {
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) half_step(in + i, out + i);
  for (; i < count; ++i) out[i] = to_half(in[i]);
}

inline void stretch_to_bfloat(const float* in, std::int64_t count, std::uint16_t* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = float_to_bfloat(in[i]);
}

// Bits: signed, because magnitudes are below the sign bit and every vector unit compares signed numbers.
template <typename Bits>
bool any_above(const Bits* bits, std::int64_t count, Bits limit) {
  Bits above = 0;
  for (std::int64_t i = 0; i < count; ++i) above |= static_cast<Bits>((bits[i] & std::numeric_limits<Bits>::max()) >= limit);
  return above != 0;
}

inline constexpr Rounding kRounding = {stretch_to_half, stretch_to_bfloat, any_above<std::int32_t>, any_above<std::int16_t>};
