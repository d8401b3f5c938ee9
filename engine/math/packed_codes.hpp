// A block of packed codes as eight registers of bytes: included inside a target's namespace after its dot products, never by
// itself. packed_weight.hpp has the layout.
//
//   codes[j] byte 4 r + i = the code of row r, column 4 j + i
template <CodeWidth width, int j>
QJL_LANES_INLINE Bytes64 with_upper_bits(Bytes64 nibbles, const Bytes64 (&planes)[2]) {
  return width == CodeWidth::fives ? high_bits<j, 1>(nibbles, planes[0]) : high_bits<2 * (j % 4), 2>(nibbles, planes[j / 4]);
}

template <CodeWidth width>
QJL_LANES_INLINE void load_codes(const std::byte* p, Bytes64 (&codes)[8]) {
  if constexpr (width == CodeWidth::bytes) {
    for (int j = 0; j < 8; ++j) codes[j] = load_bytes(p + 64 * j);
    return;
  }
  for (int j = 0; j < 4; ++j) {
    const Bytes64 both = load_bytes(p + 64 * j);
    codes[j] = low_nibbles(both);
    codes[4 + j] = high_nibbles(both);
  }
  if constexpr (width == CodeWidth::nibbles) return;
  const Bytes64 first = load_bytes(p + 256);
  const Bytes64 planes[2] = {first, width == CodeWidth::sixes ? load_bytes(p + 320) : first};
  codes[0] = with_upper_bits<width, 0>(codes[0], planes);
  codes[1] = with_upper_bits<width, 1>(codes[1], planes);
  codes[2] = with_upper_bits<width, 2>(codes[2], planes);
  codes[3] = with_upper_bits<width, 3>(codes[3], planes);
  codes[4] = with_upper_bits<width, 4>(codes[4], planes);
  codes[5] = with_upper_bits<width, 5>(codes[5], planes);
  codes[6] = with_upper_bits<width, 6>(codes[6], planes);
  codes[7] = with_upper_bits<width, 7>(codes[7], planes);
}
