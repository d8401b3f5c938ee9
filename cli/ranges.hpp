// Numbers of the command line: what an option takes, and what is said of one that it does not: "--temp: found -1, wanted 0 or more".
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace qjl::cli {

inline constexpr std::int64_t kMostInt = std::numeric_limits<int>::max();  // of an option that is kept as an int

// A whole number in base 10; 010 is ten. Given to Option::transform.
CLI::Validator whole(std::int64_t least, std::int64_t most = std::numeric_limits<std::int64_t>::max());

// Finite numbers.
CLI::Validator positive();
CLI::Validator not_negative();
CLI::Validator share();           // 0 to 1
CLI::Validator positive_share();  // above 0, at most 1

// Of --memory: 6G, 1500M, 900000K or bytes, powers of 1000; 6Gi, 1500Mi, 900000Ki of 1024. Errors: CLI::ValidationError.
std::int64_t read_bytes(const std::string& text);

// Of --seed: 0 to 2^64 - 1, or -1 for one by chance. Errors: CLI::ValidationError.
std::uint64_t read_seed(const std::string& text);

}  // namespace qjl::cli
