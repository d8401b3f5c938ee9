// Asymmetric integers: groups of 32 numbers with their least number and a step, both fp16.
//
//   step = fp16((max - min) / (2^b - 1)), zero = fp16(min), q = round((x - zero) / step) in 0 .. 2^b - 1, x^ = zero + step q
//   b + 1 bits a number
//
// Per token a group is 32 channels of one row (int2, int4; the values of KIVI and QJL); per channel it is one channel of 32 tokens
// in a row (the keys of KIVI). The open page is KIVI's residual: its released code keeps the last n mod 128 keys and the last 128
// values exact, here both sides keep n mod 128.
// Source: KIVI (arXiv 2402.02750) and its quant/new_pack.py.
#include <algorithm>
#include <cmath>

#include "numbers.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

constexpr std::int64_t kGroup = 32;

// Codes x[0], x[stride], ... x[31 stride].
void code_group(float* x, std::int64_t stride, int bits) {
  float low = x[0], high = x[0];
  for (std::int64_t i = 1; i < kGroup; ++i) {
    low = std::min(low, x[i * stride]);
    high = std::max(high, x[i * stride]);
  }
  const auto most = static_cast<float>((1 << bits) - 1);
  const float step = fp16((high - low) / most), zero = fp16(low);
  for (std::int64_t i = 0; i < kGroup; ++i) {
    const float code = step > 0 ? std::clamp(std::nearbyint((x[i * stride] - zero) / step), 0.0f, most) : 0.0f;
    x[i * stride] = zero + step * code;
  }
}

class PerToken final : public RowSide {
 public:
  explicit PerToken(int bits) : bits_(bits) {}
  double bits(int) const override { return bits_ + 32.0 / kGroup; }

 private:
  void code_row(int, std::span<float> row) const override {
    for (std::int64_t begin = 0; begin < std::ssize(row); begin += kGroup) code_group(row.data() + begin, 1, bits_);
  }
  int bits_;
};

class PerChannel final : public Side {
 public:
  explicit PerChannel(int bits) : bits_(bits) {}
  double bits(int) const override { return bits_ + 32.0 / kGroup; }
  void code(const Rows& page) const override {
    for (std::int64_t head = 0; head < page.heads; ++head) {
      for (std::int64_t token = 0; token < page.tokens; token += kGroup) {
        for (std::int64_t c = 0; c < page.dim; ++c) code_group(page.row(head, token).data() + c, page.dim, bits_);
      }
    }
  }

 private:
  int bits_;
};

}  // namespace

SidePtr min_max_per_token(int bits) { return std::make_unique<PerToken>(bits); }
SidePtr min_max_per_channel(int bits) { return std::make_unique<PerChannel>(bits); }

}  // namespace qjl::engine::rivals
