// cache_list: every name is read, ours and the rivals', before anything is measured.
#include "cache_list.hpp"

#include "options.hpp"
#include "qjl/error.hpp"
#include "rival.hpp"

namespace qjl::cli {
namespace {

// A cache type of the library or a rival's.
void check_type(const std::string& type) {
  if (!engine::is_rival(type)) {
    cache_type(type);
    return;
  }
  try {
    engine::check_rival(type);
  } catch (const Error& error) {
    throw Usage(error.what());
  }
}

}  // namespace

std::vector<std::string> cache_list(const std::vector<std::string>& parts) {
  std::vector<std::string> types;
  for (const auto& part : parts) {
    const bool setting = part.find('=') != std::string::npos && part.find(':') == std::string::npos;
    if (setting && !types.empty()) {
      types.back() += "," + part;
    } else {
      types.push_back(part);
    }
  }
  for (const auto& type : types) check_type(type);
  return types;
}

}  // namespace qjl::cli
