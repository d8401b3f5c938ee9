// fp8 E4M3 with scale 1: sign, 4 exponent bits, 3 of mantissa, largest number 448, no infinity. 8 bits a number.
//
// Source: OCP FP8 (arXiv 2209.05433); vLLM `--kv-cache-dtype fp8`, whose scales are 1 unless a checkpoint carries others.
#include "numbers.hpp"
#include "sides.hpp"

namespace qjl::engine::rivals {
namespace {

class Fp8 final : public RowSide {
 public:
  double bits(int) const override { return 8; }

 private:
  void code_row(int, std::span<float> row) const override {
    for (float& x : row) x = round_to(kE4m3, x);
  }
};

}  // namespace

SidePtr fp8_e4m3() { return std::make_unique<Fp8>(); }

}  // namespace qjl::engine::rivals
