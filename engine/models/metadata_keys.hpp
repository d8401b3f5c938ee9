// The numbers and words that a model's file says of its shape, each inside its bounds.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model_file.hpp"

namespace qjl::engine {

// Throws bad_file: "[model] <subject> is <found>, wanted <wanted>".
[[noreturn]] void refuse_model(const std::string& subject, const std::string& found, const std::string& wanted);

// The value itself. Errors: bad_file unless it is 1 to `most`.
std::int64_t bounded(const std::string& subject, std::int64_t value, std::int64_t most);

// Reads "<architecture>.<name>", and remembers which names were asked for. Errors: bad_file on a missing key (where no `absent` is
// given), another type, or a number out of bounds: integers 1 to `most`, others above 0 and at most `most`.
class MetadataKeys {
 public:
  MetadataKeys(const ModelFile& file, std::string_view architecture) : file_(file), prefix_(std::string(architecture) + ".") {}

  bool has(const char* name) const { return find(name) != nullptr; }
  // The same, and false where the key is the number 0, which some files write for "none".
  bool has_positive(const char* name) const;
  std::int64_t integer(const char* name, std::int64_t most) const;
  std::int64_t integer_or(const char* name, std::int64_t absent, std::int64_t most) const;
  // Of each layer, [num_layers]: the file's array, or its one number for all.
  // Errors: also bad_file on an array of another length.
  std::vector<std::int64_t> of_layers(const char* name, int num_layers, std::int64_t most) const;
  // The same where layers may not differ. Errors: also unsupported (names the key and the first layer that differs).
  std::int64_t of_all_layers(const char* name, int num_layers, std::int64_t most) const;
  double positive_or(const char* name, double absent, double most) const;
  double number_within(const char* name, double least, double most) const;
  bool boolean_or(const char* name, bool absent) const { return file_.boolean_or(asked(name), absent); }
  std::string text_or(const char* name, const char* absent) const { return file_.text_or(asked(name), absent); }
  // Layers by the file's array of booleans or integers (true: nonzero), or null when the key is absent or one number.
  std::optional<std::vector<bool>> flags(const char* name) const;
  // What the file says and nobody asked for. A key that would change the arithmetic is refused unless it says nothing new; one that
  // does not is ignored; of one that is in no list a warning is returned. The lists are in metadata_keys.cpp.
  // Errors: unsupported (names the key and what it says).
  std::vector<std::string> check_others() const;
  const std::string& prefix() const { return prefix_; }

 private:
  std::string asked(const char* name) const;
  const FileValue* find(const char* name) const { return file_.find(asked(name)); }

  const ModelFile& file_;
  std::string prefix_;
  mutable std::set<std::string> asked_;
};

}  // namespace qjl::engine
