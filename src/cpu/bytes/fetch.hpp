// Asks for the pages to come while the present ones are worked on, to the first cache.
//
//   several rows   each line that a loop reads asks for the same line of the page in its place in the next pass: one instruction
//   one row        the next page's lines in order, a few in every step of the work, in proportion to its time
//
// A core has few requests for memory under way; a burst of them stops the loop that makes it, and in between nothing is under way.
// One row waits for memory, so its requests must be even in time: also while scales, means and weights are made, which read no
// lines. A distance of 0 (nothing comes, or others have asked) asks for the line itself, which is free.
#if defined(QJL_BYTES_FETCH) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_FETCH
#undef QJL_BYTES_FETCH
#else
#define QJL_BYTES_FETCH
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "page.hpp"
#include "target.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {

template <int kLines>
QJL_INLINE void ask(const std::uint8_t* lines, std::ptrdiff_t distance) {
  QJL_UNROLL
  for (int i = 0; i < kLines; ++i) __builtin_prefetch(lines + i * layout::kLineBytes + distance, 0, 3);
}

// The next page of one row. Times are in cycles of AVX-512 with VBMI; what counts is how they compare.
class Fetcher {
 public:
  Fetcher() = default;  // asks for nothing
  explicit Fetcher(const layout::PageShape& shape) {
    constexpr int kSetupTime = 45, kTripleTime = 13, kWordTime = 9, kStringTime = 12, kFrameTime = 23, kPartTime = 17;
    const bool words = shape.key.keys == KeyLayout::words, strings = shape.key.keys == KeyLayout::strings;
    const int word = strings ? 4 * key_group(shape.key).steps : 8;  // coordinates
    const int steps =
        words || strings ? layout::kHalves * shape.head_dim / word : layout::key_row_bytes(shape.key, shape.head_dim) / 3;
    const int step_time = strings ? kStringTime * word / 8
                          : words ? kWordTime
                                  : kTripleTime,
              parts = layout::kFrames * shape.head_dim / 64;
    const int lines = static_cast<int>(layout::body_layout(shape).bytes / layout::kLineBytes);
    const int time = 2 * kSetupTime + steps * step_time + layout::kFrames * kFrameTime + parts * kPartTime;
    const auto share = [&](int step) { return (2 * lines * step + time) / (2 * time); };
    step_ = share(step_time), frame_ = share(kFrameTime), part_ = share(kPartTime);
    const int rest = lines - steps * step_ - layout::kFrames * frame_ - parts * part_;
    setup_ = std::max(0, (rest + 1) / 2);
  }
  void start(const std::uint8_t* next) { at_ = next; }
  void setup() { next(setup_); }  // twice a page
  void step() { next(step_); }    // of keys: three rows of codes of both halves, or a word of one
  void frame() { next(frame_); }  // of weights
  void part() { next(part_); }    // of values: 64 channels of a frame

 private:
  QJL_INLINE void next(int lines) {
    const std::uint8_t* at = at_;
    for (int i = 0; i < lines; ++i, at += layout::kLineBytes) __builtin_prefetch(at, 0, 3);
    at_ = at;
  }
  const std::uint8_t* at_ = nullptr;
  int setup_ = 0, step_ = 0, frame_ = 0, part_ = 0;
};

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
