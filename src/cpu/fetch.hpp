// Asks for the pages to come while the present ones are worked on, a few lines at a time, evenly.
//
// A core has few requests for memory under way; a burst of them stops the loop that makes it, and in between nothing is under way.
// So every loop of the fast path calls next() with a small number, chosen so that a page's lines are used up over a page's time.
// With one row to a page the next page goes to the first cache, with more rows a whole pass of pages to the second. Header of a
// pass: see foreach_target.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

class Fetcher {
 public:
  // Starts over with `count` pages of `bytes`.
  void start(const std::uint8_t* const* pages, int count, std::int64_t bytes, bool near) {
    pages_ = pages, left_ = count, bytes_ = bytes, near_ = near;
    at_ = end_ = nullptr;
    turn_page();
  }
  template <int kLines>
  QJL_INLINE void next() {
    if (at_ >= end_) return;
    QJL_UNROLL
    for (int i = 0; i < kLines; ++i, at_ += layout::kLineBytes) {  // may run a little beyond the page
      if (near_) {
        __builtin_prefetch(at_, 0, 3);
      } else {
        __builtin_prefetch(at_, 0, 2);
      }
    }
    if (at_ >= end_) turn_page();
  }
  void rest() {
    while (at_ < end_) next<4>();
  }

 private:
  void turn_page() {
    if (left_ == 0) return;
    --left_;
    at_ = *pages_++;
    end_ = at_ + bytes_;
  }
  const std::uint8_t* const* pages_ = nullptr;
  const std::uint8_t *at_ = nullptr, *end_ = nullptr;
  std::int64_t bytes_ = 0;
  int left_ = 0;
  bool near_ = false;
};

}  // namespace qjl::cpu::QJL_NAMESPACE
