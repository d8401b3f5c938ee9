// The stretches of rounding.hpp for one target: included inside its namespace after kStep and half_step(), which rounds kStep
// numbers and returns 0 when f16 can hold them. The other loops have no branch, so that the compiler makes vectors of them.

inline bool stretch_to_half(const float* in, std::int64_t count, std::uint16_t* out) {
  unsigned beyond = 0;
  std::int64_t i = 0;
  for (; i + kStep <= count; i += kStep) beyond |= half_step(in + i, out + i);
  for (; i < count; ++i) {
    out[i] = float_to_half(in[i]);
    beyond |= (out[i] & kHalfInfinity) == kHalfInfinity;
  }
  return beyond == 0;
}

inline bool stretch_to_bfloat(const float* in, std::int64_t count, std::uint16_t* out) {
  unsigned beyond = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = float_to_bfloat(in[i]);
    beyond |= (out[i] & kBfloatInfinity) == kBfloatInfinity;
  }
  return beyond == 0;
}

// Bits: signed, because magnitudes are below the sign bit and every vector unit compares signed numbers.
template <typename Bits>
bool any_above(const Bits* bits, std::int64_t count, Bits limit) {
  Bits above = 0;
  for (std::int64_t i = 0; i < count; ++i) above |= static_cast<Bits>((bits[i] & std::numeric_limits<Bits>::max()) >= limit);
  return above != 0;
}

inline constexpr Rounding kRounding = {stretch_to_half, stretch_to_bfloat, any_above<std::int32_t>, any_above<std::int16_t>};
