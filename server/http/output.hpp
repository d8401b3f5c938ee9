// Answers as bytes of HTTP/1.1.
#pragma once

#include <string>
#include <string_view>

#include "message.hpp"

namespace qjl::server {

// How an answer ends: by its length, by a last chunk, or with the connection (HTTP/1.0 knows no chunks).
enum class Framing : unsigned char { length, chunks, close };

struct HeadStyle {
  Framing framing = Framing::length;
  bool keep_alive = true;
};

// Status line, headers and the empty line. Header values lose their line breaks.
std::string response_head(const Response& response, const Headers& more, HeadStyle style);
// The whole answer; without the body for HEAD, 204 and 304.
std::string response_bytes(const Response& response, const Headers& more, bool keep_alive, bool head_only);
// One piece of a body.
std::string framed(std::string_view text, Framing framing);

}  // namespace qjl::server
