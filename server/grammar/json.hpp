// JSON as the server reads and writes it: an object's keys in their order.
#pragma once

#include <nlohmann/json.hpp>

namespace qjl::server {

using Json = nlohmann::ordered_json;

}  // namespace qjl::server
