// Draws the bar at most ten times a second, on a terminal only.
#include "progress.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "terminal_text.hpp"

namespace qjl::cli {
namespace {

constexpr int kBarWidth = 30;

}  // namespace

Progress::Progress(std::string label) : label_(one_line(label)), visible_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (on_screen_) std::fputs("\r\033[K", stderr);
  on_screen_ = false;
}

void Progress::update(std::int64_t done, std::int64_t total) {
  const auto now = Clock::now();
  if (!visible_ || total <= 0 || now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
  const int filled = static_cast<int>(share * kBarWidth);
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '-');
  std::fprintf(stderr, "\r\033[K%s  [%s] %3.0f %%", label_.c_str(), bar.c_str(), 100.0 * share);
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  if (share > 0.02 && elapsed > 1.0) std::fprintf(stderr, "  %.0f s left", elapsed * (1.0 - share) / share);
  std::fflush(stderr);
  on_screen_ = true;
}

}  // namespace qjl::cli
