// The exponential of sixteen floats. Included inside a target's namespace after its lanes, never by itself.
//
// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln 2 / 2; ln 2 in two parts so that r is exact to fp32, then a polynomial of
// degree 6 (Cephes expf). x is kept to the range where 2^n is normal.
QJL_LANES_INLINE F32x16 exponential(F32x16 x) {
  x = clamp(x, -87.0f, 88.0f);
  const F32x16 n = round_to_int(mul(x, broadcast(1.44269504f)));
  const F32x16 r = fma(n, broadcast(2.12194440e-4f), fma(n, broadcast(-0.693359375f), x));
  F32x16 p = broadcast(1.9875691500e-4f);
  for (const float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    p = fma(p, r, broadcast(c));
  }
  p = fma(p, mul(r, r), add(r, broadcast(1.0f)));
  return mul(p, power_of_two(n));
}
