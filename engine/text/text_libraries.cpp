// Versions as the libraries tell them.
#include "text_libraries.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include <vector>

namespace qjl::engine {

std::string text_libraries() {
  std::vector<char> version(static_cast<std::size_t>(pcre2_config(PCRE2_CONFIG_VERSION, nullptr)));
  pcre2_config(PCRE2_CONFIG_VERSION, version.data());
  const std::string text(version.data());  // "10.42 2022-12-11"
  return "PCRE2 " + text.substr(0, text.find(' ')) + ", utf8proc " + utf8proc_version();
}

}  // namespace qjl::engine
