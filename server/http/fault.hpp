// What is wrong with a request, as clients of OpenAI's servers read it: {"error": {message, type, param, code}}.
#pragma once

#include <string>

#include "message.hpp"

namespace qjl::server {

struct Fault {
  int status = 400;
  std::string message = {};  // found and wanted; no path, no name of a source file
  std::string param = {};    // the field, "" for none: null
  std::string code = {};     // "" for none: null
  Headers headers = {};      // Allow, Retry-After, WWW-Authenticate
};

// OpenAI's type of an error by its status: invalid_request_error, authentication_error, permission_error, not_found_error,
// rate_limit_error, server_error.
std::string fault_type(int status);
// The JSON text, in one line. Bytes of the message that are not UTF-8 are replaced.
std::string fault_body(const Fault& fault);
Response fault_response(const Fault& fault);

}  // namespace qjl::server
