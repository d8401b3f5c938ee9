// Any bytes as a client's side of a connection: whatever is sent, in pieces, the server answers in HTTP or closes, and goes on: a
// plain request afterwards is answered.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "fuzz_input.hpp"
#include "server.hpp"

using namespace qjl::server;
using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

// Answers by the path: a stream for those with an s.
void answer(const Request& request, const std::shared_ptr<Reply>& reply) {
  if (request.path.find('s') == std::string::npos) return reply->send({.body = request.path});
  reply->begin({});
  reply->event("x");
  reply->end();
}

class Server {
 public:
  Server() : server_(config(), answer), thread_([this] { server_.run(); }) {}
  ~Server() {
    server_.stop();
    thread_.join();
  }
  std::uint16_t port() const { return server_.port(); }

 private:
  static HttpConfig config() {
    HttpConfig config;
    config.port = 0;
    config.max_body_bytes = 4096;
    config.linger_time = std::chrono::milliseconds(1);
    config.arrive_time = std::chrono::milliseconds(5);
    return config;
  }
  HttpServer server_;
  std::thread thread_;
};

enum class Ending : unsigned char { open, shut };  // whether the client says that it sends no more

// Sends a text in two pieces; what comes back until the server closes.
std::string talk(std::uint16_t port, const std::string& bytes, std::size_t cut, Ending ending) {
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0, "the server listens");
  const std::size_t first = std::min(cut, bytes.size());
  send(client, bytes.data(), first, MSG_NOSIGNAL);
  send(client, bytes.data() + first, bytes.size() - first, MSG_NOSIGNAL);
  if (ending == Ending::shut) shutdown(client, SHUT_WR);
  std::string got;
  char buffer[4096];
  for (ssize_t n = 0; (n = recv(client, buffer, sizeof buffer, 0)) > 0;) got.append(buffer, static_cast<std::size_t>(n));
  close(client);
  return got;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  FuzzInput input(data, size);
  const std::size_t cut = input.below(64);
  const std::string got = talk(server.port(), input.rest(), cut, Ending::shut);
  require(got.empty() || got.starts_with("HTTP/1.1 "), "answers are HTTP");
  static std::uint64_t count = 0;
  if (++count % 64 == 0) {
    const std::string plain =
        talk(server.port(), "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", cut, Ending::open);
    require(plain.starts_with("HTTP/1.1 200") && plain.ends_with("/a"), "the server goes on");
  }
  return 0;
}
