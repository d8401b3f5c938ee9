// MetadataKeys: bounds, and errors that name the key, what was found and what was wanted.
#include "metadata_keys.hpp"

#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

std::int64_t bounded(const std::string& key, std::int64_t value, std::int64_t most) {
  if (value < 1 || value > most) refuse_model(key, std::to_string(value), "1 to " + std::to_string(most));
  return value;
}

}  // namespace

void refuse_model(const std::string& subject, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[model] " + subject + " is " + found + ", wanted " + wanted);
}

std::int64_t MetadataKeys::integer(const char* name, std::int64_t most) const {
  return bounded(prefix_ + name, file_.integer(prefix_ + name), most);
}

std::int64_t MetadataKeys::integer_or(const char* name, std::int64_t absent, std::int64_t most) const {
  return bounded(prefix_ + name, file_.integer_or(prefix_ + name, absent), most);
}

double MetadataKeys::positive_or(const char* name, double absent, double most) const {
  const double value = file_.number_or(prefix_ + name, absent);
  if (!(value > 0.0 && value <= most))
    refuse_model(prefix_ + name, std::to_string(value), "above 0 and at most " + std::to_string(most));
  return value;
}

}  // namespace qjl::engine
