// Faults to their JSON.
#include "fault.hpp"

#include <nlohmann/json.hpp>

namespace qjl::server {
namespace {

using Json = nlohmann::ordered_json;

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

std::string fault_type(int status) {
  if (status == 401) return "authentication_error";
  if (status == 403) return "permission_error";
  if (status == 404) return "not_found_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

std::string fault_body(const Fault& fault) {
  const Json body = {{"error",
                      {{"message", fault.message},
                       {"type", fault_type(fault.status)},
                       {"param", text_or_null(fault.param)},
                       {"code", text_or_null(fault.code)}}}};
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Response fault_response(const Fault& fault) {
  return {.status = fault.status, .body = fault_body(fault), .headers = fault.headers};
}

}  // namespace qjl::server
