// One connection: requests one after another, each read under limits, handed over, answered.
//
//   idle -> arriving -> answering -> idle ...           every state but answering has a deadline;
//                   \-> lingering -> closed             a refusal is sent, then input is read and thrown away for a moment:
//                                                       closing at once would reset the connection under the client's eyes
//
// While an answer is made one read is always pending: its end is how a client's leaving is noticed.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fault.hpp"
#include "output.hpp"
#include "server.hpp"

namespace qjl::server {

class Connection;

// What all connections of a server share; outlives them.
struct ConnectionContext {
  const HttpConfig& config;
  const Handler& handler;
  std::weak_ptr<boost::asio::io_context> io;
  std::function<void(Connection*)> on_close;  // called once for each, at its end
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  Connection(Socket socket, const ConnectionContext& context);
  ~Connection();

  void start();
  // Answers this and ends.
  void refuse(const Fault& fault);
  // No further request: ends now when idle, else after the answer.
  void drain();
  // What is in progress ends now, an answer with this.
  void cut(const Fault& fault);
  void close();

  // What a Reply does, on the I/O thread. `answer` is the number of the request that is answered; others are too late.
  void send(std::uint64_t answer, Response response);
  void begin(std::uint64_t answer, Headers headers);
  void event(std::uint64_t answer, const std::string& data);
  void end(std::uint64_t answer);
  void on_gone(std::uint64_t answer, std::function<void()> call);
  // The reply was given up: the answer ends with this.
  void drop(std::uint64_t answer, const Fault& fault);

 private:
  enum class State : unsigned char { idle, arriving, answering, lingering, closed };
  using Code = boost::system::error_code;

  void watch();
  void watched(Code code, std::size_t bytes);
  void read_head();
  void read_body();
  void read_failed(Code code);
  void time_is_up();
  void cut_answer(const Fault& fault);
  void hand_over();
  void write(std::string bytes);
  void write_some();
  void written(Code code, std::size_t bytes);
  void answered();
  void client_gone();
  void linger();
  void set_deadline(std::chrono::milliseconds time);
  void no_deadline();
  void set_ping();
  void set_answer_deadline();
  bool answers(std::uint64_t answer) const { return state_ == State::answering && answer == answer_ && !complete_; }

  Socket socket_;
  boost::asio::steady_timer deadline_, ping_, answer_deadline_;
  const ConnectionContext& context_;
  const HttpConfig& config_;

  State state_ = State::idle;
  bool watching_ = false, late_ = false, draining_ = false;
  boost::beast::flat_buffer input_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;

  // Of the answer in progress.
  std::uint64_t answer_ = 0;
  Headers extra_;  // of the door
  std::function<void()> on_gone_;
  bool keep_alive_ = true, head_only_ = false, streaming_ = false, complete_ = false;
  Framing framing_ = Framing::length;

  std::string sending_, unsent_;
  std::size_t sent_ = 0;  // of sending_
  bool writing_ = false;
};

}  // namespace qjl::server
