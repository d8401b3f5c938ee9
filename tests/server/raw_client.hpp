// A client that is nothing but a socket: it sends what a test says, byte for byte, and tells what came back.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "server.hpp"

namespace qjl::server {

class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~RawClient() { leave(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  void leave() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }

  // Bytes that the server took: fewer when it closed.
  std::size_t send(std::string_view bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const auto n = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    return sent;
  }

  // What comes until `wanted` is in it, the server closes, or the time is up.
  std::string read_until(std::string_view wanted, std::chrono::milliseconds time = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (text_.find(wanted) == std::string::npos || wanted.empty()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
      pollfd ready{socket_, POLLIN, 0};
      if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) <= 0) break;
      char bytes[65536];
      const auto n = recv(socket_, bytes, sizeof bytes, 0);
      closed_ = n <= 0;
      if (closed_) break;
      text_.append(bytes, static_cast<std::size_t>(n));
    }
    const auto place = wanted.empty() ? std::string::npos : text_.find(wanted);
    const std::size_t size = place == std::string::npos ? text_.size() : place + wanted.size();
    std::string found = text_.substr(0, size);
    text_.erase(0, size);
    return found;
  }
  std::string read_all(std::chrono::milliseconds time = std::chrono::seconds(10)) { return read_until("", time); }
  bool closed() const { return closed_; }

 private:
  int socket_;
  bool connected_ = false, closed_ = false;
  std::string text_;
};

// A server on a free port and its I/O thread.
class RunningServer {
 public:
  RunningServer(HttpConfig config, Handler handler) : server_(with_free_port(config), std::move(handler)) {
    thread_ = std::thread([this] { server_.run(); });
  }
  ~RunningServer() {
    server_.stop();
    thread_.join();
  }
  std::uint16_t port() const { return server_.port(); }
  HttpServer& server() { return server_; }

  // Until a condition holds, for at most 10 s.
  template <typename F>
  static bool eventually(F condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return condition();
  }

 private:
  static HttpConfig with_free_port(HttpConfig config) {
    config.port = 0;
    config.linger_time = std::chrono::milliseconds(100);
    return config;
  }
  HttpServer server_;
  std::thread thread_;
};

}  // namespace qjl::server
