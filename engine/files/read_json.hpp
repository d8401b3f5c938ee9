// Reading JSON that others made: plans, costs, cases and rows of studies.
//
// nlohmann-json reads text of any depth with a stack of its own, but writes, copies and compares what it read by recursion: a
// megabyte of brackets would overflow the stack in the message that refuses it. And it turns any number into any type: 4294967299
// reads as the int 3, 64.5 as 64, true as 1. Hence refuse_deep() and whole_number().
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "qjl/error.hpp"

namespace qjl::engine {

inline constexpr int kJsonDepth = 64;

// For Json::parse(). Errors: bad_file at the first bracket that is deeper than kJsonDepth.
inline bool refuse_deep(int depth, nlohmann::ordered_json::parse_event_t, nlohmann::ordered_json&) {
  if (depth > kJsonDepth) {
    throw Error(ErrorKind::bad_file,
                "[json] found brackets deeper than " + std::to_string(kJsonDepth) + ", wanted at most that many inside each other");
  }
  return true;
}

// object[key] as a T. Errors: nlohmann's when there is none, bad_file on another type or a number that a T does not hold.
template <typename T>
T whole_number(const nlohmann::ordered_json& object, const char* key) {
  const auto& found = object.at(key);
  if (found.is_number_unsigned()) {
    if (const auto number = found.get<std::uint64_t>(); std::in_range<T>(number)) return static_cast<T>(number);
  } else if (found.is_number_integer()) {
    if (const auto number = found.get<std::int64_t>(); std::in_range<T>(number)) return static_cast<T>(number);
  }
  throw Error(ErrorKind::bad_file, "[json] found `" + std::string(key) + "` = " + found.dump() + ", wanted a whole number of " +
                                       std::to_string(8 * sizeof(T)) + " bits");
}

}  // namespace qjl::engine
