// The numbers and words that a model's file says of its shape, each inside its bounds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model_file.hpp"

namespace qjl::engine {

// Throws bad_file: "[model] <subject> is <found>, wanted <wanted>".
[[noreturn]] void refuse_model(const std::string& subject, const std::string& found, const std::string& wanted);

// Reads "<architecture>.<name>". Errors: bad_file on a missing key (where no `absent` is given), another type, or a number out of
// bounds: integers 1 to `most`, others above 0 and at most `most`.
class MetadataKeys {
 public:
  MetadataKeys(const ModelFile& file, std::string_view architecture) : file_(file), prefix_(std::string(architecture) + ".") {}

  bool has(const char* name) const { return file_.find(prefix_ + name) != nullptr; }
  std::int64_t integer(const char* name, std::int64_t most) const;
  std::int64_t integer_or(const char* name, std::int64_t absent, std::int64_t most) const;
  double positive_or(const char* name, double absent, double most) const;
  std::string text_or(const char* name, const char* absent) const { return file_.text_or(prefix_ + name, absent); }
  const std::string& prefix() const { return prefix_; }

 private:
  const ModelFile& file_;
  std::string prefix_;
};

}  // namespace qjl::engine
