// Reading JSON that others made: plans, costs, cases and rows of studies, the files of a model's folder.
//
// nlohmann-json reads text of any depth with a stack of its own, but writes, copies and compares what it read by recursion: a
// megabyte of brackets would overflow the stack in the message that refuses it. And it turns any number into any type: 4294967299
// reads as the int 3, 64.5 as 64, true as 1. Hence parse_json() and whole_number().
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "qjl/error.hpp"

namespace qjl::engine {

inline constexpr int kJsonDepth = 64;
// nlohmann's ordered objects are searched from the front at every new key: so many keys of one object, and so many looks at a key in
// all objects together (an object of n keys takes n (n - 1) / 2; a quarter of a second).
inline constexpr int kJsonKeys = 1000;
inline constexpr std::int64_t kJsonLooks = 50'000'000;

enum class JsonObjects : std::uint8_t { ordered, sorted };

// Errors: bad_file "[name] ..." on brackets deeper than kJsonDepth and, where objects are ordered, beyond kJsonKeys or kJsonLooks.
// Cost: one read of the text.
void check_json_bounds(std::string_view text, const std::string& name = "json", JsonObjects objects = JsonObjects::ordered);

// Errors: those, and nlohmann's on what is no JSON.
nlohmann::ordered_json parse_json(std::string_view text);
// The same of a text that `name` tells; discarded (nlohmann's is_discarded()) instead of nlohmann's errors.
nlohmann::ordered_json parse_json_or_none(std::string_view text, const std::string& name);

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

// Of a folder of Hugging Face. Sorted by key, so that an object of many keys costs O(n log n); the order of a file's keys says nothing.
using FileJson = nlohmann::json;

// Errors: bad_file "[name] ..." on what is no JSON, no object, or deeper than kJsonDepth.
FileJson parse_json_object(std::string_view text, const std::string& name);

// The same of a file. Errors also: io when it cannot be read.
FileJson read_json_object(const std::filesystem::path& path);
// Null without such a file.
FileJson read_json_object_if_there(const std::filesystem::path& path);

// bad_file: "[name] found FOUND, wanted WANTED".
[[noreturn]] void refuse_json(const std::string& name, const std::string& found, const std::string& wanted);

// A value for a message: at most 64 characters, whatever it holds.
std::string json_text(const FileJson& value);

// object[key], or null when it is absent or null.
const FileJson* find_json(const FileJson& object, const std::string& key);

// object[key] as a text, empty when absent. Errors: bad_file on another type.
std::string json_text_or_empty(const FileJson& object, const std::string& key, const std::string& name);
// object[key] as a boolean. Errors: bad_file on another type.
bool json_boolean_or(const FileJson& object, const std::string& key, bool absent, const std::string& name);

}  // namespace qjl::engine
