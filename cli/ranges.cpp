// The whole of the text must be the number: `8k` is none.
#include "ranges.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <random>
#include <string>
#include <string_view>

namespace qjl::cli {
namespace {

template <typename Number>
bool read_number(std::string_view text, Number& number) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && stop == end;
}

template <typename Holds>
CLI::Validator real(Holds holds, const std::string& wanted) {
  const auto check = [holds, wanted](std::string& text) {
    double number{};
    if (read_number(text, number) && std::isfinite(number) && holds(number)) return std::string();
    return "found " + text + ", wanted " + wanted;
  };
  return {check, ""};
}

}  // namespace

CLI::Validator whole(std::int64_t least, std::int64_t most) {
  const std::string range =
      most == std::numeric_limits<std::int64_t>::max() ? fmt::format("{} or more", least) : fmt::format("{} to {}", least, most);
  const auto read = [least, most, range](std::string& text) {
    std::int64_t number{};
    if (!read_number(text, number) || number < least || number > most) return "found " + text + ", wanted a whole number, " + range;
    text = std::to_string(number);
    return std::string();
  };
  return {read, ""};
}

CLI::Validator positive() {
  return real([](double x) { return x > 0; }, "a number above 0");
}

CLI::Validator not_negative() {
  return real([](double x) { return x >= 0; }, "0 or more");
}

CLI::Validator share() {
  return real([](double x) { return x >= 0 && x <= 1; }, "0 to 1");
}

CLI::Validator positive_share() {
  return real([](double x) { return x > 0 && x <= 1; }, "above 0, at most 1");
}

std::int64_t read_bytes(const std::string& text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr Unit kUnits[] = {{"", 1}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}};
  constexpr double kMost = 1e15;
  const char* const end = text.data() + text.size();
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  for (const Unit& unit : kUnits) {
    if (error != std::errc() || std::string_view(stop, end) != unit.name) continue;
    if (const double bytes = number * unit.bytes; bytes >= 1 && bytes <= kMost) return static_cast<std::int64_t>(bytes);
  }
  throw CLI::ValidationError("--memory", "found " + text + ", wanted bytes as 6G, 1500M or 6Gi, at most 1000000G");
}

std::uint64_t read_seed(const std::string& text) {
  std::uint64_t seed{};
  if (read_number(text, seed)) return seed;
  if (text != "-1") throw CLI::ValidationError("--seed", "found " + text + ", wanted 0 to 2^64 - 1, or -1 for one by chance");
  std::random_device chance;
  return (std::uint64_t{chance()} << 32) | chance();
}

}  // namespace qjl::cli
