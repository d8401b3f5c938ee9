// The listening socket, the set of connections, signals and the end.
#include "server.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <unordered_map>
#include <utility>

#include "connection.hpp"
#include "qjl/error.hpp"

namespace qjl::server {
namespace {

namespace asio = boost::asio;
using Code = boost::system::error_code;

constexpr int kSpareFiles = 64;  // model, saved prefixes, log
constexpr std::chrono::milliseconds kAcceptPause{100};

// The usual limit of 1024 open files is less than the connections and the files of the model together.
void allow_files(int wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= static_cast<rlim_t>(wanted)) return;
  limit.rlim_cur = std::min(limit.rlim_max, static_cast<rlim_t>(wanted));
  setrlimit(RLIMIT_NOFILE, &limit);
}

asio::ip::address address_of(const std::string& host) {
  Code code;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, code);
  if (code) throw Error(ErrorKind::invalid_argument, "[serve] found --host " + host + ", wanted an address, e.g. 127.0.0.1");
  return address;
}

}  // namespace

struct HttpServer::State {
  State(const HttpConfig& wanted, Handler answer)
      : config(wanted),
        handler(std::move(answer)),
        acceptor(*io),
        signals(*io),
        pause(*io),
        overdue(*io),
        context{config, handler, io, [this](Connection* connection) { closed(connection); }} {}

  void listen() {
    const asio::ip::tcp::endpoint endpoint(address_of(config.host), config.port);
    config.door.loopback = endpoint.address().is_loopback();
    Code code;
    acceptor.open(endpoint.protocol(), code);
    if (!code) acceptor.set_option(asio::socket_base::reuse_address(true), code);
    if (!code) acceptor.bind(endpoint, code);
    if (!code) acceptor.listen(asio::socket_base::max_listen_connections, code);
    if (code) {
      throw Error(ErrorKind::io,
                  "[serve] cannot listen on " + config.host + " port " + std::to_string(config.port) + ": " + code.message());
    }
    allow_files(config.max_connections + kSpareFiles);
    accept();
  }

  void accept() {
    acceptor.async_accept([this](Code code, asio::ip::tcp::socket socket) {
      if (!acceptor.is_open()) return;
      if (code) return accept_later();
      admit(std::move(socket));
      accept();
    });
  }

  // No file descriptor is free, most likely: at once it would fail again.
  void accept_later() {
    pause.expires_after(kAcceptPause);
    pause.async_wait([this](Code code) {
      if (!code && acceptor.is_open()) accept();
    });
  }

  void admit(asio::ip::tcp::socket socket) {
    Code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    auto connection = std::make_shared<Connection>(std::move(socket), context);
    const bool full = count >= config.max_connections;
    connections.emplace(connection.get(), connection);
    ++count;
    if (full) {
      connection->refuse({.status = 503,
                          .message = "found " + std::to_string(config.max_connections) + " connections, wanted fewer",
                          .code = "too_many_connections",
                          .headers = {{"Retry-After", "1"}}});
    } else {
      connection->start();
    }
  }

  void closed(Connection* connection) {
    connections.erase(connection);
    --count;
    if (draining && connections.empty()) io->stop();
  }

  void watch_signals() {
    signals.add(SIGTERM);
    signals.add(SIGINT);
    signals.async_wait([this](Code code, int number) {
      if (code) return;
      signal = number;
      drain();
      signals.async_wait([](Code again, int second) {
        if (!again) _exit(128 + second);
      });
    });
  }

  void drain() {
    if (std::exchange(draining, true)) return;
    Code ignored;
    acceptor.close(ignored);
    pause.cancel();
    if (drain_call) drain_call(signal);
    for_each([](Connection& connection) { connection.drain(); });
    if (connections.empty()) return io->stop();
    overdue.expires_after(config.drain_time);
    overdue.async_wait([this](Code code) {
      if (!code) cut_answers();
    });
  }

  void cut_answers() {
    const Fault fault{.status = 503, .message = "the server ends, this answer is not complete", .code = "server_stopped"};
    for_each([&](Connection& connection) { connection.cut(fault); });
    overdue.expires_after(config.linger_time);
    overdue.async_wait([this](Code code) {
      if (!code) io->stop();
    });
  }

  // Connections may close, and leave the map, while they are called.
  template <typename F>
  void for_each(F function) {
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, connection] : connections) all.push_back(connection);
    for (const auto& connection : all) function(*connection);
  }

  HttpConfig config;
  Handler handler;
  std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
  asio::ip::tcp::acceptor acceptor;
  asio::signal_set signals;
  asio::steady_timer pause, overdue;
  ConnectionContext context;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections;
  std::atomic<int> count = 0;
  std::function<void(int)> drain_call;
  bool draining = false;
  int signal = 0;
};

HttpServer::HttpServer(const HttpConfig& config, Handler handler) : state_(std::make_unique<State>(config, std::move(handler))) {
  state_->listen();
}

HttpServer::~HttpServer() {
  state_->io->stop();
  state_->connections.clear();
}

std::uint16_t HttpServer::port() const { return state_->acceptor.local_endpoint().port(); }
bool HttpServer::loopback() const { return state_->config.door.loopback; }
int HttpServer::num_connections() const { return state_->count; }
void HttpServer::on_drain(std::function<void(int)> call) { state_->drain_call = std::move(call); }
void HttpServer::drain() {
  boost::asio::post(*state_->io, [this] { state_->drain(); });
}
void HttpServer::stop() { state_->io->stop(); }

int HttpServer::run() {
  if (state_->config.catch_signals) state_->watch_signals();
  state_->io->run();
  return state_->signal;
}

}  // namespace qjl::server
