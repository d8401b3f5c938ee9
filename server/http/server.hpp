// An HTTP/1.1 server on one thread: connections, their limits, streams of server-sent events, and an orderly end.
//
// The thread that calls run() does all input and output and nothing else: a request goes to the handler, answers come back from
// any thread. Every limit holds before memory is taken: a body of 16 MiB is refused whether it comes with its length or in chunks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "door.hpp"
#include "message.hpp"

namespace qjl::server {

struct HttpConfig {
  std::string host = "127.0.0.1";  // an address, or localhost
  std::uint16_t port = 8000;       // 0: a free one
  Door door = {};                  // its `loopback` is set from the host
  bool catch_signals = false;      // SIGTERM and SIGINT drain; a second one ends the process
  std::chrono::milliseconds drain_time{30'000};

  std::uint32_t max_head_bytes = 16 << 10;
  std::uint64_t max_body_bytes = 16 << 20;
  std::size_t max_unsent_bytes = 1 << 20;  // of a stream whose client does not read; then it counts as gone
  int max_connections = 1024;
  std::chrono::milliseconds arrive_time{30'000};  // a request, from its first byte to its last
  std::chrono::milliseconds idle_time{60'000};    // between requests
  std::chrono::milliseconds write_time{60'000};   // in which nothing could be sent
  std::chrono::milliseconds ping_time{15'000};    // silence of a stream
  std::chrono::milliseconds answer_time{0};       // a whole answer; 0: as long as it takes
  std::chrono::milliseconds linger_time{2'000};   // for a client to read a refusal before its connection is closed
};

class HttpServer {
 public:
  // Listens at once; requests are answered by run(). Errors: invalid_argument on a host that is no address; io when it cannot be
  // listened on, e.g. because another program does.
  HttpServer(const HttpConfig& config, Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port() const;
  bool loopback() const;

  // Serves until it has drained or is stopped. Returns the signal that began the end, 0 for none.
  int run();

  // Stops to listen, lets requests that have arrived be answered, and makes run() return; answers that are not done after
  // drain_time end with an error. on_drain is called first, on the I/O thread. Any thread.
  void drain();
  // Makes run() return now. Any thread.
  void stop();
  // Called when a drain begins, with the signal that it is for, 0 for none. Set before run().
  void on_drain(std::function<void(int signal)> call);

  int num_connections() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl::server
