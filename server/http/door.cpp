// The checks of a request's head.
#include "door.hpp"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

namespace qjl::server {
namespace {

std::string lower(std::string_view text) {
  std::string low(text);
  std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return low;
}

// "name:8000" and "[::1]:8000" without the port.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) return lower(host.substr(0, std::min(host.find(']'), host.size() - 1) + 1));
  return lower(host.substr(0, host.find(':')));
}

bool is_loopback_name(const std::string& name) {
  if (name == "localhost" || name == "[::1]" || name.ends_with(".localhost")) return true;
  const bool numbers = std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
  return numbers && name.starts_with("127.") && std::count(name.begin(), name.end(), '.') == 3;
}

bool holds(const std::vector<std::string>& list, std::string_view text) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& each) { return lower(each) == text; });
}

bool host_allowed(const Door& door, std::string_view host) {
  if (!door.loopback && door.allowed_hosts.empty()) return true;
  const std::string name = host_name(host);
  return is_loopback_name(name) || holds(door.allowed_hosts, name) || holds(door.allowed_hosts, lower(host));
}

bool origin_listed(const Door& door, std::string_view origin) {
  return holds(door.cors_origins, "*") || holds(door.cors_origins, lower(origin));
}

// The server's own page: its origin is a scheme and the Host that the request names.
bool own_origin(std::string_view origin, std::string_view host) {
  const auto scheme = origin.find("://");
  return scheme != std::string_view::npos && !host.empty() && lower(origin.substr(scheme + 3)) == lower(host);
}

std::string_view bearer(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (lower(authorization.substr(0, kScheme.size())) != kScheme) return {};
  authorization.remove_prefix(kScheme.size());
  while (authorization.starts_with(' ')) authorization.remove_prefix(1);
  return authorization;
}

bool key_passes(const Door& door, std::string_view key) {
  bool passes = false;
  for (const std::string& known : door.keys) passes |= same_secret(key, known);  // every key is looked at
  return passes;
}

}  // namespace

bool same_secret(std::string_view left, std::string_view right) {
  unsigned difference = left.size() == right.size() ? 0U : 1U;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const char other = right.empty() ? '\0' : right[i % right.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(left[i]) ^ static_cast<unsigned char>(other));
  }
  return difference == 0;
}

std::optional<Fault> refuse(const Door& door, const Request& head) {
  const std::string_view host = head.header("host"), origin = head.header("origin");
  if (!host_allowed(door, host)) {
    return Fault{.status = 403,
                 .message = "found the host name " + std::string(host) + ", wanted a name of this machine (--allowed-host)",
                 .code = "host_not_allowed"};
  }
  const bool reads = head.method == "GET" || head.method == "HEAD";
  if (!reads && !origin.empty() && !own_origin(origin, host) && !origin_listed(door, origin)) {
    return Fault{.status = 403,
                 .message = "found a request by a page of " + std::string(origin) + ", wanted an allowed origin (--cors-origin)",
                 .code = "origin_not_allowed"};
  }
  const bool open = head.path == "/health" || head.path == "/" || head.method == "OPTIONS";
  if (door.keys.empty() || open || key_passes(door, bearer(head.header("authorization")))) return std::nullopt;
  const std::string found = head.header("authorization").empty() ? "no key" : "a key that is not known";
  return Fault{.status = 401,
               .message = "found " + found + ", wanted the header Authorization: Bearer KEY",
               .code = "invalid_api_key",
               .headers = {{"WWW-Authenticate", "Bearer"}}};
}

Headers cors_headers(const Door& door, const Request& head) {
  const std::string_view origin = head.header("origin");
  if (origin.empty() || !origin_listed(door, origin)) return {};
  return {{"Access-Control-Allow-Origin", std::string(origin)},
          {"Access-Control-Expose-Headers", "x-request-id, x-qjl-ignored, Retry-After"},
          {"Vary", "Origin"}};
}

std::optional<Response> preflight(const Door& door, const Request& head) {
  if (head.method != "OPTIONS" || head.header("access-control-request-method").empty()) return std::nullopt;
  if (cors_headers(door, head).empty()) return std::nullopt;
  // Clients' libraries send headers of their own by the dozen; who may call may send what it likes.
  std::string names(head.header("access-control-request-headers"));
  std::erase_if(names, [](unsigned char c) { return std::iscntrl(c) != 0; });
  if (names.empty()) names = "Authorization, Content-Type, x-request-id";
  return Response{.status = 204,
                  .type = "",
                  .headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                              {"Access-Control-Allow-Headers", std::move(names)},
                              {"Access-Control-Max-Age", "600"}}};
}

}  // namespace qjl::server
