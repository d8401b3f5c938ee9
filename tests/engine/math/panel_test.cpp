// bf16 products of many tokens against decoded weights and a double loop, and fast arithmetic of multiply().
//
// Bound: both factors are rounded to 8 bits: (1 + 2^-9)^2 - 1 < 2^-8 of |w x|; sums of n products in fp32, two a step, n u sum |w
// x| with u = 2^-24. Scales of the K formats are rounded to fp16 before: 2^-11 of |scale code| + |offset|, which is at most 2^-11
// (|w| + 2 |offset|); q6_k has no offset.
#include "panel_bf16.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

double largest_offset(const Weight& w, std::int64_t row) {
  double largest = 0;
  for (std::int64_t b = 0; b < w.columns / 32; ++b)
    largest = std::max(largest, std::abs(static_cast<double>(f16_to_f32(coded_block(w.type, w.row(row), b).offset))));
  return largest;
}

struct Fixture {
  std::mt19937_64 random;
  RandomWeight w, other;
  ThreadPool threads{2};
  PackedMemory memory;
  PackedWeight packed;
  std::vector<float> x, out, out_other;
  std::int64_t tokens;

  Fixture(WeightType type, std::int64_t rows, std::int64_t columns, std::int64_t num_tokens)
      : random(static_cast<std::uint64_t>(rows + num_tokens)),
        w(type, rows, columns, random),
        other(WeightType::q5_k, 40, columns, random),
        memory(PackedWeight::packed_bytes(w.weight)),
        packed(w.weight, memory.data(), threads),
        x(random_floats(num_tokens * columns, random)),
        tokens(num_tokens) {
    w.weight.packed = &packed;
  }

  void run(ThreadPool& pool, Arithmetic arithmetic) {
    ProductScratch scratch;
    const std::int64_t width = w.weight.rows + 3;
    out.assign(static_cast<std::size_t>(tokens * width), 7.0f);
    out_other.assign(static_cast<std::size_t>(tokens * 40), NAN);
    const Product products[] = {{&w.weight, out.data(), width}, {&other.weight, out_other.data(), 40}};
    const std::span<const Product> list = w.weight.columns % 256 == 0 ? std::span(products) : std::span(products, 1);
    multiply({list, {x.data(), tokens, w.weight.columns}, arithmetic}, scratch, pool);
  }
};

TEST(PanelBf16, EveryTypeAndOddSizes) {
  if (!has_bf16_products()) GTEST_SKIP() << "no bf16 products on this processor";
  const double u = std::ldexp(1.0, -24);
  for (const WeightType type : {WeightType::q8_0, WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1,
                                WeightType::q4_k, WeightType::q5_k, WeightType::q6_k}) {
    for (const auto& [rows, tokens] : {std::pair{1, 9}, {16, 12}, {33, 31}, {70, 129}}) {
      const bool is_k = block_numbers(type) == 256;
      Fixture f(type, rows, is_k ? 512 : 96, tokens);
      f.run(f.threads, Arithmetic::fast);
      const std::vector<float> decoded = f.w.decoded();
      const std::int64_t columns = f.w.weight.columns, width = rows + 3;
      for (std::int64_t r = 0; r < rows; ++r) {
        const double offset = is_k ? largest_offset(f.w.weight, r) : 0;
        for (std::int64_t t = 0; t < tokens; ++t) {
          double sum_x = 0;
          for (std::int64_t c = 0; c < columns; ++c) sum_x += std::abs(f.x[static_cast<std::size_t>(t * columns + c)]);
          const ExactDot wanted = exact_dot(decoded.data() + r * columns, f.x.data() + t * columns, columns);
          const double bound = (std::ldexp(1.0, -8) + static_cast<double>(columns) * u) * wanted.magnitude +
                               (is_k ? std::ldexp(wanted.magnitude + 2 * offset * sum_x, -11) : 0);
          ASSERT_NEAR(f.out[static_cast<std::size_t>(t * width + r)], wanted.value, bound)
              << weight_type_name(type) << ", rows " << rows << ", token " << t << " of " << tokens << ", row " << r;
        }
      }
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t r = rows; r < width; ++r)
          ASSERT_EQ(f.out[static_cast<std::size_t>(t * width + r)], 7.0f) << "column " << r;
      }
    }
  }
}

// A weight that is not packed stays exact beside a packed one, bit for bit.
TEST(FastProducts, OtherTypesStayExact) {
  for (const std::int64_t tokens : {1, 4, 20}) {
    Fixture f(WeightType::q4_1, 50, 256, tokens);
    f.run(f.threads, Arithmetic::exact);
    const std::vector<float> wanted = f.out_other, exact = f.out;
    f.run(f.threads, Arithmetic::fast);
    EXPECT_EQ(f.out_other, wanted) << tokens << " tokens";
    if (tokens <= kIntegerTokens || has_bf16_products()) {
      EXPECT_NE(f.out, exact) << tokens << " tokens: the other way is taken";
    }
  }
}

TEST(FastProducts, TheSameBitsForAnyNumberOfThreads) {
  ThreadPool one(1), three(3);
  for (const std::int64_t tokens : {1, 6, 70}) {
    Fixture f(WeightType::q4_0, 200, 256, tokens);
    f.run(one, Arithmetic::fast);
    const std::vector<float> wanted = f.out;
    f.run(three, Arithmetic::fast);
    EXPECT_EQ(f.out, wanted) << tokens << " tokens";
  }
}

}  // namespace
}  // namespace qjl::engine::test
