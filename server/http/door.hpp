// Who may come in: names of this host, pages of other origins, keys. Looked at when a request's head is there, before its body.
//
// A server on loopback is reachable by every page in a browser of the machine. A page's request names the page's host (DNS
// rebinding) or its origin; both are refused unless the user allows them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fault.hpp"
#include "message.hpp"

namespace qjl::server {

struct Door {
  bool loopback = true;                         // the address that is listened on
  std::vector<std::string> keys = {};           // empty: every key passes, and none
  std::vector<std::string> allowed_hosts = {};  // besides loopback's names; beyond loopback, when given, the only ones
  std::vector<std::string> cors_origins = {};   // "*": every one
};

// Why a request may not come in: 403 for a host or an origin, 401 for a key. /health and the page at / need no key.
std::optional<Fault> refuse(const Door& door, const Request& head);

// The answer to a browser's question (OPTIONS) whether a page of an allowed origin may call.
std::optional<Response> preflight(const Door& door, const Request& head);
// What lets a page of an allowed origin read the answer; nothing for others.
Headers cors_headers(const Door& door, const Request& head);

// Equal, in a time that depends on the lengths alone.
bool same_secret(std::string_view left, std::string_view right);

}  // namespace qjl::server
