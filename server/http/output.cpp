// Formats answers.
#include "output.hpp"

#include <array>
#include <boost/beast/http/status.hpp>
#include <charconv>

namespace qjl::server {
namespace {

void append_header(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ");
  for (const char c : value) {
    if (static_cast<unsigned char>(c) >= ' ' && c != '\x7f') head += c;  // a value never ends its line
  }
  head += "\r\n";
}

}  // namespace

std::string response_head(const Response& response, const Headers& more, HeadStyle style) {
  const auto reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(response.status));
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(reason) + "\r\n";
  if (!response.type.empty()) append_header(head, "Content-Type", response.type);
  for (const auto* headers : {&response.headers, &more}) {
    for (const auto& [name, value] : *headers) append_header(head, name, value);
  }
  if (style.framing == Framing::length && response.status != 204)
    append_header(head, "Content-Length", std::to_string(response.body.size()));
  if (style.framing == Framing::chunks) append_header(head, "Transfer-Encoding", "chunked");
  append_header(head, "Connection", style.keep_alive ? "keep-alive" : "close");
  return head += "\r\n";
}

std::string response_bytes(const Response& response, const Headers& more, bool keep_alive, bool head_only) {
  std::string bytes = response_head(response, more, {Framing::length, keep_alive});
  if (!head_only && response.status != 204 && response.status != 304) bytes += response.body;
  return bytes;
}

std::string framed(std::string_view text, Framing framing) {
  if (framing != Framing::chunks) return std::string(text);
  std::array<char, 16> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), text.size(), 16).ptr;
  return std::string(size.data(), end).append("\r\n").append(text).append("\r\n");
}

}  // namespace qjl::server
