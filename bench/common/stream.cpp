// Walks over a buffer with several prefetch distances; the best counts.
#include "stream.hpp"

#include <string>

#include "target.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace qjl::bench {
namespace {

constexpr std::int64_t kLeads[] = {0, 1024, 4096, 16384};
constexpr std::int64_t kStep = 256;

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
void read_avx512(const std::byte* data, std::int64_t bytes, std::int64_t lead) {
  __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  for (std::int64_t at = 0; at < bytes; at += kStep) {
    for (int i = 0; i < 4; ++i) {
      if (lead > 0) _mm_prefetch(reinterpret_cast<const char*>(data) + at + lead + 64 * i, _MM_HINT_T1);
      sum[i] = _mm512_or_si512(sum[i], _mm512_load_si512(data + at + 64 * i));
    }
  }
  asm volatile("" ::"v"(_mm512_or_si512(_mm512_or_si512(sum[0], sum[1]), _mm512_or_si512(sum[2], sum[3]))));
}
QJL_TARGET_END
#endif

void read_words(const std::byte* data, std::int64_t bytes, std::int64_t lead) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(data);
  std::uint64_t sum[4] = {0, 0, 0, 0};
  for (std::int64_t i = 0; i < bytes / 8; i += 8) {
    if (lead > 0) __builtin_prefetch(data + 8 * i + lead);
    for (int k = 0; k < 8; ++k) sum[k % 4] += words[i + k];
  }
  asm volatile("" ::"r"(sum[0] + sum[1] + sum[2] + sum[3]));
}

void read(const std::byte* data, std::int64_t bytes, std::int64_t lead) {
#if defined(__x86_64__)
  if (simd_targets().back() >= SimdTarget::avx512) return read_avx512(data, bytes, lead);
#endif
  read_words(data, bytes, lead);
}

}  // namespace

Stream::Stream(const HugeBuffer& buffer, std::int64_t bytes, ThreadPool& threads)
    : data_(buffer.as<std::byte>()), bytes_(bytes), threads_(&threads) {
  const std::int64_t grain = kStep * threads.num_threads(), most = static_cast<std::int64_t>(buffer.bytes());
  bytes_ = std::min(bytes, most) / grain * grain;
}

std::vector<Variant> Stream::variants() const {
  std::vector<Variant> variants;
  for (const std::int64_t lead : kLeads) {
    variants.push_back({"stream, lead " + std::to_string(lead), [stream = *this, lead] {
                          const std::int64_t parts = stream.threads_->num_threads(), part = stream.bytes_ / parts;
                          stream.threads_->run(parts, [&](std::int64_t i, int) { read(stream.data_ + i * part, part, lead); });
                        }});
  }
  return variants;
}

}  // namespace qjl::bench
