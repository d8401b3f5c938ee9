// Finds the texts that end an answer, in text that comes piece by piece.
//
// What could be the beginning of a stop is held back until it is one or cannot be; so no part of a stop is ever given out, and half
// a stop at the end is text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qjl::server {

class StopFinder {
 public:
  // stops: none empty.
  explicit StopFinder(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that is certain to come before any stop. After the first stop: "".
  std::string feed(std::string_view text);
  // What is held back, at the end of the answer.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace qjl::server
