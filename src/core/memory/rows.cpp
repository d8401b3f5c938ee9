// Loops over rows; rounding.hpp has what is done to the contiguous channels of one.
#include "rows.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "fail.hpp"
#include "half.hpp"
#include "page.hpp"
#include "rounding.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kTokensPerCheck = 256;  // tokens that one item of a parallel check reads
// Rows asked for ahead: those of a page are too short a stream for the processor to foresee. A prompt is encoded a sixth faster.
constexpr std::int64_t kRowsAhead = 16;
constexpr std::int64_t kNumbersWorthThreads = 1 << 17;  // below it waking threads costs more than the check

// Magnitude bits from which a number of format `from` is NaN, infinite, or rounds to infinity in format `to`.
constexpr std::uint32_t bad_from(DType from, DType to) {
  switch (from) {
    case DType::f32: return to == DType::f16 ? 0x477FF000u /* 65520 */ : to == DType::bf16 ? 0x7F7F8000u : 0x7F800000u;
    case DType::f16: return 0x7C00u;
    case DType::bf16: return to == DType::f16 ? 0x4780u /* 65536, the first above 65504 */ : 0x7F80u;
  }
  __builtin_unreachable();
}

bool row_is_bad(const TensorView& rows, std::int64_t head, std::int64_t token, std::uint32_t limit) {
  const std::uint8_t* row = row_address(rows, head, token);
  return rows.dtype == DType::f32
             ? rounding().any_above(reinterpret_cast<const std::int32_t*>(row), rows.dim, static_cast<std::int32_t>(limit))
             : rounding().any_above_16(reinterpret_cast<const std::int16_t*>(row), rows.dim, static_cast<std::int16_t>(limit));
}

bool round_row(const std::uint8_t* row, DType from, std::int64_t dim, DType to, std::uint16_t* out) {
  if (from == DType::f32) {
    const auto* numbers = reinterpret_cast<const float*>(row);
    return to == DType::f16 ? rounding().to_half(numbers, dim, out) : rounding().to_bfloat(numbers, dim, out);
  }
  const auto* numbers = reinterpret_cast<const std::uint16_t*>(row);
  if (from == to) {
    std::memcpy(out, numbers, static_cast<std::size_t>(dim) * sizeof *out);
  } else {
    for (std::int64_t c = 0; c < dim; ++c) out[c] = from_float(to_float(numbers[c], from), to);
  }
  return !rounding().any_above_16(reinterpret_cast<const std::int16_t*>(row), dim, static_cast<std::int16_t>(bad_from(from, to)));
}

void prefetch(const TensorView& rows, std::int64_t head, std::int64_t token) {
  const std::uint8_t* row = row_address(rows, head, token);
  for (std::int64_t i = 0; i < rows.dim * dtype_bytes(rows.dtype); i += layout::kLineBytes) __builtin_prefetch(row + i);
}

float number_at(const TensorView& rows, std::int64_t head, std::int64_t token, std::int64_t channel) {
  const std::uint8_t* row = row_address(rows, head, token);
  if (rows.dtype == DType::f32) return reinterpret_cast<const float*>(row)[channel];
  return to_float(reinterpret_cast<const std::uint16_t*>(row)[channel], rows.dtype);
}

// Names the first bad number. There is one.
[[noreturn]] void fail_at_first(const TensorView& rows, std::uint32_t limit, const RowsName& name) {
  std::int64_t bad = 0;  // head * tokens + token
  while (!row_is_bad(rows, bad / rows.tokens, bad % rows.tokens, limit)) ++bad;
  const std::int64_t head = bad / rows.tokens, token = bad % rows.tokens;
  const std::uint8_t* row = row_address(rows, head, token);
  const auto magnitude_bits = [&](std::int64_t c) {
    return rows.dtype == DType::f32 ? reinterpret_cast<const std::uint32_t*>(row)[c] & 0x7FFFFFFF
                                    : reinterpret_cast<const std::uint16_t*>(row)[c] & 0x7FFFu;
  };
  std::int64_t channel = 0;
  while (magnitude_bits(channel) < limit) ++channel;
  fail(ErrorKind::invalid_argument, name.operation, name.tensor, " hold ", number_at(rows, head, token, channel), " at head ", head,
       ", token ", token, ", channel ", channel, ", wanted finite numbers that the 16-bit format can hold");
}

}  // namespace

void check_device(Device found, Device wanted, const RowsName& name) {
  const auto memory = [](Device device) {
    return device == Device::cpu() ? "the host" : "CUDA device " + std::to_string(device.index);
  };
  require(found == wanted, name.operation, name.tensor, " lie in the memory of ", memory(found), ", wanted that of ",
          memory(wanted));
}

namespace {

// Far above any memory: steps of so many numbers may be multiplied and added in 64 bits.
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 58;

bool fits(std::int64_t count, std::int64_t stride) {
  if (count < 2) return true;  // never a step
  const std::int64_t most = kMostNumbers / (count - 1);
  return stride >= -most && stride <= most;
}

}  // namespace

void check_extent(std::int64_t heads, std::int64_t tokens, std::int64_t head_stride, std::int64_t token_stride,
                  const RowsName& name) {
  require(heads <= kMostHeads && tokens <= kMostTokens, name.operation, name.tensor, " have ", heads, " heads and ", tokens,
          " tokens, wanted at most ", kMostHeads, " and ", kMostTokens);
  require(fits(heads, head_stride) && fits(tokens, token_stride), name.operation, name.tensor, " have strides of ", head_stride,
          " and ", token_stride, " numbers, wanted ones that memory has room for");
}

void check_disjoint(const OutputView& rows, const RowsName& name) {
  if (rows.heads == 0 || rows.tokens == 0) return;  // no row at all
  // A stride that is never taken may be any number.
  const auto step = [](std::int64_t stride, std::int64_t count) { return std::pair(count < 2 ? 0 : std::abs(stride), count); };
  std::array steps{step(rows.token_stride, rows.tokens), step(rows.head_stride, rows.heads)};
  std::ranges::sort(steps);
  std::int64_t taken = rows.dim;
  for (const auto& [distance, count] : steps) {
    require(count < 2 || distance >= taken, name.operation, name.tensor, " have strides of ", rows.head_stride, " and ",
            rows.token_stride, " numbers, under which rows overlap, wanted each of the ", rows.heads, " x ", rows.tokens,
            " rows of ", rows.dim, " apart");
    taken += (count - 1) * distance;
  }
}

void check_shape(const TensorView& rows, std::int64_t heads, std::int64_t dim, const RowsName& name, Device wanted) {
  check_device(rows.device, wanted, name);
  require(rows.heads == heads && rows.dim == dim && rows.tokens >= 0, name.operation, name.tensor, " are [", rows.heads, " heads, ",
          rows.tokens, " tokens, ", rows.dim, " channels], wanted [", heads, " heads, tokens, ", dim, " channels]");
  check_extent(rows.heads, rows.tokens, rows.head_stride, rows.token_stride, name);
  require(rows.data != nullptr || rows.tokens == 0, name.operation, name.tensor, " have a null address, wanted memory of ",
          rows.tokens, " tokens");
}

void check_numbers(const TensorView& rows, DType stored, const RowsName& name, ThreadPool& threads) {
  std::atomic<bool> fit{true};
  const auto check = [&](std::int64_t head, std::int64_t first, std::int64_t count) {
    if (!rows_fit(rows, head, first, count, stored)) fit = false;
  };
  if (rows.heads * rows.tokens * rows.dim < kNumbersWorthThreads) {
    for (std::int64_t head = 0; head < rows.heads; ++head) check(head, 0, rows.tokens);
  } else {
    const std::int64_t blocks = layout::round_up(rows.tokens, kTokensPerCheck) / kTokensPerCheck;
    threads.run(rows.heads * blocks, [&](std::int64_t item, int) {
      const std::int64_t first = item % blocks * kTokensPerCheck;
      check(item / blocks, first, std::min(kTokensPerCheck, rows.tokens - first));
    });
  }
  if (!fit) fail_at_first(rows, bad_from(rows.dtype, stored), name);
}

std::uint32_t refused_from(DType stored) { return bad_from(DType::f32, stored); }

bool rows_fit(const TensorView& rows, std::int64_t head, std::int64_t first, std::int64_t count, DType stored) {
  const std::uint32_t limit = bad_from(rows.dtype, stored);
  for (std::int64_t token = first; token < first + count; ++token) {
    if (row_is_bad(rows, head, token, limit)) return false;
  }
  return true;
}

bool round_rows(const TensorView& rows, std::int64_t head, std::int64_t first, std::int64_t count, DType stored,
                std::uint16_t* out) {
  bool fit = true;
  const std::int64_t end = first + count;
  for (std::int64_t token = first; token < end; ++token) {
    if (token + kRowsAhead < end) prefetch(rows, head, token + kRowsAhead);
    fit &= round_row(row_address(rows, head, token), rows.dtype, rows.dim, stored, out);
    out += rows.dim;
  }
  return fit;
}

void round_decoded(const float* numbers, std::int64_t count, DType stored, std::uint16_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] = from_float(stored == DType::f16 ? std::clamp(numbers[i], -kHalfMax, kHalfMax) : numbers[i], stored);
  }
}

}  // namespace qjl
