// Two results, head by head and token by token, through the softmax state: a result is a state whose sum is 1 at reference lse.
#include "qjl/merge.hpp"

#include <array>
#include <cmath>
#include <limits>

#include "fail.hpp"
#include "softmax_state.hpp"

namespace qjl {
namespace {

template <typename View>
std::array<std::int64_t, 3> shape_of(const View& view) {
  return {view.heads, view.tokens, view.dim};
}

template <typename View>
void check(const View& view, const std::array<std::int64_t, 3>& wanted, const char* name) {
  if (view.device != Device::cpu()) {
    fail(ErrorKind::unsupported, "merge", name, " is on ", device_name(view.device), ", wanted the host");
  }
  const auto& [heads, tokens, dim] = wanted;
  require(shape_of(view) == wanted, "merge", name, " is [", view.heads, ", ", view.tokens, ", ", view.dim, "], wanted [", heads,
          ", ", tokens, ", ", dim, "] as the first result's");
  require(view.data != nullptr || heads * tokens * dim == 0, "merge", name, " has a null address, wanted memory");
}

float lse_at(const AttendResult& result, std::int64_t head, std::int64_t token) {
  return result.lse[head * result.lse_head_stride + token];
}

void check_result(const AttendResult& result, const std::array<std::int64_t, 3>& wanted, const char* name) {
  check(result.out, wanted, name);
  require(result.out.dtype == DType::f32, "merge", name, " has 16-bit numbers, wanted fp32, as attend gives them");
  const auto& [heads, tokens, dim] = wanted;
  require(result.lse != nullptr || heads * tokens == 0, "merge", name, " has no lse, wanted [", heads, ", ", tokens, "]");
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t token = 0; token < tokens; ++token) {
      const float lse = lse_at(result, head, token);
      require(lse < std::numeric_limits<float>::infinity(), "merge", "lse holds ", lse, " in ", name, ", head ", head, ", token ",
              token, ", wanted a number or -infinity");
    }
  }
}

const float* out_row(const AttendResult& result, std::int64_t head, std::int64_t token) {
  return static_cast<const float*>(result.out.data) + head * result.out.head_stride + token * result.out.token_stride;
}

// Of a result in the whole.
float share(float lse, const SoftmaxState& whole) { return whole.empty() ? 0.0f : rescale_factor(lse, whole.max) / whole.sum; }

}  // namespace

void merge(const AttendResult& a, const AttendResult& b, const OutputView& out, float* lse) {
  const std::array<std::int64_t, 3> shape = shape_of(a.out);
  require(shape[0] >= 0 && shape[1] >= 0 && shape[2] >= 0, "merge", "out is [", shape[0], ", ", shape[1], ", ", shape[2],
          "], wanted extents of 0 or more");
  check_result(a, shape, "the first result");
  check_result(b, shape, "the second result");
  check(out, shape, "out");
  const auto& [heads, tokens, dim] = shape;
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t token = 0; token < tokens; ++token) {
      const float lse_a = lse_at(a, head, token), lse_b = lse_at(b, head, token);
      SoftmaxState whole{lse_a, 1.0f};
      merge(whole, nullptr, {lse_b, 1.0f}, nullptr, 0);
      const float share_a = share(lse_a, whole), share_b = share(lse_b, whole);
      const float *from_a = out_row(a, head, token), *from_b = out_row(b, head, token);
      float* to = out.data + head * out.head_stride + token * out.token_stride;
      for (std::int64_t c = 0; c < dim; ++c) {
        to[c] = (share_a > 0 ? share_a * from_a[c] : 0.0f) + (share_b > 0 ? share_b * from_b[c] : 0.0f);
      }
      if (lse != nullptr) lse[head * tokens + token] = log_sum_exp(whole);
    }
  }
}

}  // namespace qjl
