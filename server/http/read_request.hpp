// What Boost.Beast parsed, as our request; and what its parser refused, as a fault.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/system/error_code.hpp>
#include <optional>

#include "fault.hpp"
#include "message.hpp"
#include "server.hpp"

namespace qjl::server {

// Method, path and headers. 400 on a target that is no path or has a wrong escape.
std::optional<Fault> read_head_of(const boost::beast::http::header<true, boost::beast::http::fields>& head, Request& request);

// 431, 413 or 400, by what the parser met.
Fault parse_fault(boost::system::error_code code, const HttpConfig& config);

}  // namespace qjl::server
