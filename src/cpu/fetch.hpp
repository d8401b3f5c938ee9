// Asks for the pages to come while the present ones are worked on: each line that a loop reads asks for the same line of the page
// that stands in its place in the next pass.
//
// A core has few requests for memory under way; a burst of them stops the loop that makes it, and in between nothing is under way.
// A request for each line read spreads them as the work itself, and costs one instruction without a branch or a counter. Lines go
// to the first cache: asked into the second they cost up to a tenth more (docs/decisions.md). A distance of 0 (nothing comes, or
// others have asked) asks for the line itself, which is free. Header of a pass: see foreach_target.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

QJL_INLINE void ask(const std::uint8_t* line, std::ptrdiff_t distance) { __builtin_prefetch(line + distance, 0, 3); }
template <int kLines>
QJL_INLINE void ask(const std::uint8_t* lines, std::ptrdiff_t distance) {
  QJL_UNROLL
  for (int i = 0; i < kLines; ++i) ask(lines + i * layout::kLineBytes, distance);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
