// Versions as the libraries tell them.
#include "math_libraries.hpp"

#include <dnnl.h>

namespace qjl::engine {

std::string math_libraries() {
  const dnnl_version_t* version = dnnl_version();
  return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch);
}

}  // namespace qjl::engine
