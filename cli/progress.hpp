// A progress bar on stderr: "eval  [########------------]  40 %  12 s left". Silent when stderr is no terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace qjl::cli {

class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();  // clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Draws when at least a tenth of a second has passed since the last drawing.
  void update(std::int64_t done, std::int64_t total);
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_{};
  bool visible_;
  bool on_screen_ = false;
};

}  // namespace qjl::cli
