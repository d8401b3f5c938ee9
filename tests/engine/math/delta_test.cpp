// Delta operations on every instruction set of this machine against their formulas in doubles. u = 2^-24.
#include "delta.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "random_weights.hpp"

namespace qjl::engine::test {
namespace {

constexpr double kU = 1.0 / (1 << 24);

// A sum of n products loses (n + 1) u of its terms' magnitudes; silu has a slope below 1.1 and 8 u of its own.
TEST(DeltaOps, Convolve) {
  std::mt19937_64 random(1);
  for (const SimdTarget target : simd_targets()) {
    for (const int kernel : {1, 2, 4}) {
      for (const std::int64_t n : {5, 16, 83}) {
        std::vector<std::vector<float>> rows;
        std::vector<const float*> places;
        for (int j = 0; j < kernel; ++j) places.push_back(rows.emplace_back(random_floats(n, random)).data());
        const std::vector<float> taps = random_floats(kernel * n, random);
        std::vector<float> out(static_cast<std::size_t>(n), NAN);
        for (int j = 0; j < kernel; ++j) places[static_cast<std::size_t>(j)] = rows[static_cast<std::size_t>(j)].data();
        delta_ops(target).convolve(places.data(), taps.data(), kernel, n, out.data());
        for (std::size_t c = 0; c < out.size(); ++c) {
          double sum = 0, size = 0;
          for (std::size_t j = 0; j < rows.size(); ++j) {
            const double term = static_cast<double>(rows[j][c]) * taps[j * out.size() + c];
            sum += term, size += std::abs(term);
          }
          const double wanted = sum / (1.0 + std::exp(-sum));
          ASSERT_NEAR(out[c], wanted, 1.1 * (kernel + 1) * kU * size + 8 * kU * std::abs(wanted))
              << simd_target_name(target) << ", kernel " << kernel << ", n " << n << ", c " << c;
        }
      }
    }
  }
}

// What a column learns is a sum over all keys, so its error is below (2 keys + 8) u of the magnitudes that go into it; the answer is
// a sum of such numbers.
TEST(DeltaOps, DeltaAgreesWithAPlainLoop) {
  std::mt19937_64 random(2);
  for (const SimdTarget target : simd_targets()) {
    for (const auto& [keys, values] : {std::pair{1, 1}, {3, 7}, {16, 24}, {48, 32}, {64, 83}, {128, 128}}) {
      std::vector<float> state = random_floats(std::int64_t{keys} * values, random);
      std::vector<double> wanted(state.begin(), state.end());
      const std::vector<float> query = random_floats(keys, random), key = random_floats(keys, random),
                               value = random_floats(values, random);
      const DeltaStep step{query.data(), key.data(), value.data(), 0.875f, 0.6f};
      std::vector<float> out(value.size(), NAN);
      delta_ops(target).delta(step, keys, values, state.data(), out.data());
      const double loss = (2 * keys + 8) * kU;
      for (std::size_t c = 0; c < value.size(); ++c) {
        double told = 0, size = std::abs(value[c]);
        for (std::size_t i = 0; i < key.size(); ++i) {
          double& number = wanted[i * value.size() + c];
          number *= step.decay;
          told += number * key[i];
          size += std::abs(number * key[i]);
        }
        double answer = 0, answer_size = 0;
        for (std::size_t i = 0; i < key.size(); ++i) {
          double& number = wanted[i * value.size() + c];
          const double reach = std::abs(number) + std::abs(key[i]) * size;
          number += key[i] * step.rate * (value[c] - told);
          ASSERT_NEAR(state[i * value.size() + c], number, loss * reach) << simd_target_name(target) << ", key " << i;
          answer += number * query[i];
          answer_size += reach * std::abs(query[i]);
        }
        ASSERT_NEAR(out[c], answer, 2 * loss * answer_size)
            << simd_target_name(target) << ", " << keys << " keys, " << values << " values, column " << c;
      }
    }
  }
}

}  // namespace
}  // namespace qjl::engine::test
