// Heads of requests, faults of their bytes.
#include "read_request.hpp"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <cctype>
#include <charconv>

namespace qjl::server {
namespace {

namespace http = boost::beast::http;

// "%40" to "@". False on an escape that is none, and on a zero byte.
bool unescape(std::string_view text, std::string& path) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      path += text[i];
      continue;
    }
    unsigned value = 0;
    const char* digits = text.data() + i + 1;
    if (i + 2 >= text.size()) return false;
    const auto [end, code] = std::from_chars(digits, digits + 2, value, 16);
    if (code != std::errc() || end != digits + 2 || value == 0) return false;
    path += static_cast<char>(value);
    i += 2;
  }
  return true;
}

std::string lower(std::string_view text) {
  std::string low(text);
  std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return low;
}

}  // namespace

std::optional<Fault> read_head_of(const http::header<true, http::fields>& head, Request& request) {
  request.method = std::string(head.method_string());
  for (const auto& field : head) request.headers.emplace_back(lower(field.name_string()), std::string(field.value()));
  std::string_view target = head.target();
  if (const auto scheme = target.find("://"); !target.starts_with('/') && scheme != std::string_view::npos) {
    const auto path = target.find('/', scheme + 3);  // a proxy's form: the whole address
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  if (target.starts_with('/') && unescape(target.substr(0, target.find_first_of("?#")), request.path)) return std::nullopt;
  return Fault{.status = 400, .message = "found a target that is no path, wanted one as /v1/models", .code = "bad_target"};
}

Fault parse_fault(boost::system::error_code code, const HttpConfig& config) {
  if (code == http::error::header_limit || code == http::error::buffer_overflow) {
    return {.status = 431,
            .message = "found a head above the limit, wanted at most " + std::to_string(config.max_head_bytes) + " bytes",
            .code = "head_too_large"};
  }
  if (code == http::error::body_limit) {
    return {.status = 413,
            .message = "found a body above the limit, wanted at most " + std::to_string(config.max_body_bytes) + " bytes",
            .code = "body_too_large"};
  }
  return {.status = 400, .message = "found bytes that are no HTTP/1.1 request (" + code.message() + ")", .code = "bad_http"};
}

}  // namespace qjl::server
