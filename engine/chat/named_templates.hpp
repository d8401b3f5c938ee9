// Chat templates by name, for models whose file has none or a wrong one.
#pragma once

#include <string>
#include <string_view>

namespace qjl::engine {

// Jinja text; empty when there is none of that name.
std::string_view named_template(std::string_view name);

// All names, with commas between.
std::string template_names();

}  // namespace qjl::engine
