// The reply of a connection: carries calls of any thread to the I/O thread.
#pragma once

#include <cstdint>
#include <memory>

#include "message.hpp"

namespace qjl::server {

class Connection;
struct ConnectionContext;

std::shared_ptr<Reply> make_reply(const std::shared_ptr<Connection>& connection, const ConnectionContext& context,
                                  std::uint64_t answer);

}  // namespace qjl::server
