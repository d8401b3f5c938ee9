// Lists of cache types on the command line, rivals among them.
#pragma once

#include <string>
#include <vector>

namespace qjl::cli {

// A list of names that was cut at every comma: "k2v2,paper:rows=128,outliers=0" has two; a part like "outliers=0" belongs to the
// type before it. Usage on an unknown name.
std::vector<std::string> cache_list(const std::vector<std::string>& parts);

}  // namespace qjl::cli
