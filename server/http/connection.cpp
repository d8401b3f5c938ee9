// Reads requests: one at a time, limits and deadlines; what can be wrong with their bytes.
#include "connection.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>

#include "read_request.hpp"
#include "reply.hpp"

namespace qjl::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr std::size_t kWatchBytes = 4096;       // read ahead at a time while an answer is made
constexpr std::size_t kAheadBytes = 64 << 10;   // of requests sent before the answer; who sends more is let go
constexpr std::chrono::seconds kAgain{1};       // after a read that was over when it was cancelled
constexpr std::size_t kInputBytes = 128 << 10;  // the buffer at most: a head, and a piece of a body

}  // namespace

Connection::Connection(Socket socket, const ConnectionContext& context)
    : socket_(std::move(socket)),
      deadline_(socket_.get_executor()),
      ping_(socket_.get_executor()),
      answer_deadline_(socket_.get_executor()),
      context_(context),
      config_(context.config),
      input_(kInputBytes) {}

Connection::~Connection() = default;

void Connection::start() {
  set_deadline(config_.idle_time);
  watch();
}

void Connection::set_deadline(std::chrono::milliseconds time) {
  deadline_.expires_after(time);
  deadline_.async_wait([self = shared_from_this()](Code code) {
    if (!code && self->deadline_.expiry() <= asio::steady_timer::clock_type::now()) self->time_is_up();
  });
}

// A wait that is over but not yet heard of sees that its time is not up.
void Connection::no_deadline() { deadline_.expires_at(asio::steady_timer::time_point::max()); }

void Connection::time_is_up() {
  if (state_ != State::arriving) return client_gone();
  late_ = true;
  Code ignored;
  socket_.cancel(ignored);  // the pending read ends, and its handler refuses: two reads at once would share the buffer
  set_deadline(kAgain);
}

void Connection::watch() {
  watching_ = true;
  socket_.async_read_some(input_.prepare(kWatchBytes),
                          [self = shared_from_this()](Code code, std::size_t bytes) { self->watched(code, bytes); });
}

void Connection::watched(Code code, std::size_t bytes) {
  watching_ = false;
  if (state_ == State::closed) return;
  if (code == asio::error::operation_aborted && state_ == State::idle) return read_head();  // see answered()
  if (code) return client_gone();
  if (state_ == State::lingering) {
    input_.clear();
    return watch();
  }
  input_.commit(bytes);
  if (state_ == State::idle) return read_head();
  if (input_.size() >= kAheadBytes) return client_gone();  // unread, its leaving would not be noticed
  watch();
}

void Connection::read_head() {
  state_ = State::arriving;
  ++answer_;
  keep_alive_ = head_only_ = streaming_ = complete_ = late_ = false;
  extra_.clear();
  parser_.emplace();
  parser_->header_limit(config_.max_head_bytes);
  parser_->body_limit(config_.max_body_bytes);
  set_deadline(config_.arrive_time);
  http::async_read_header(socket_, input_, *parser_, [self = shared_from_this()](Code code, std::size_t) {
    if (self->state_ != State::arriving) return;
    if (code) return self->read_failed(code);
    self->read_body();
  });
}

// The head is there: is the client welcome? Then the body.
void Connection::read_body() {
  Request head;
  if (const auto fault = read_head_of(parser_->get().base(), head)) return refuse(*fault);
  extra_ = cors_headers(config_.door, head);
  if (const auto fault = server::refuse(config_.door, head)) return refuse(*fault);
  if (parser_->is_done()) return hand_over();
  if (boost::beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
    write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  http::async_read(socket_, input_, *parser_, [self = shared_from_this()](Code code, std::size_t) {
    if (self->state_ != State::arriving) return;
    if (code) return self->read_failed(code);
    self->hand_over();
  });
}

void Connection::read_failed(Code code) {
  if (late_) return refuse({.status = 408, .message = "found a request that is late, wanted all of it sooner", .code = "timeout"});
  const bool said_nothing = code == http::error::end_of_stream || code == http::error::partial_message;
  if (said_nothing || code.category() != http::make_error_code(http::error::bad_method).category()) return client_gone();
  refuse(parse_fault(code, config_));
}

void Connection::hand_over() {
  Request request;
  if (const auto fault = read_head_of(parser_->get().base(), request)) return refuse(*fault);
  request.body = std::move(parser_->get().body());
  keep_alive_ = parser_->get().keep_alive() && !draining_;
  head_only_ = request.method == "HEAD";
  framing_ = parser_->get().version() >= 11 ? Framing::chunks : Framing::close;
  parser_.reset();
  state_ = State::answering;
  no_deadline();
  if (config_.answer_time.count() > 0) set_answer_deadline();
  if (input_.size() >= kAheadBytes) return client_gone();
  if (!watching_) watch();
  auto reply = make_reply(shared_from_this(), context_, answer_);
  if (auto asked = preflight(config_.door, request)) return reply->send(std::move(*asked));
  context_.handler(std::move(request), std::move(reply));
}

void Connection::refuse(const Fault& fault) {
  keep_alive_ = false;
  head_only_ = false;
  state_ = State::answering;
  parser_.reset();
  send(answer_, fault_response(fault));
}

void Connection::client_gone() {
  if (on_gone_) {
    const auto call = std::move(on_gone_);
    on_gone_ = nullptr;
    call();
  }
  close();
}

void Connection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  on_gone_ = nullptr;
  Code ignored;
  deadline_.cancel();
  ping_.cancel();
  answer_deadline_.cancel();
  socket_.close(ignored);
  context_.on_close(this);
}

void Connection::drain() {
  draining_ = true;
  if (state_ == State::idle) close();
}

// What a client sends after a refusal is read and forgotten until it has read the answer and left, or for a moment.
void Connection::linger() {
  state_ = State::lingering;
  Code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  set_deadline(config_.linger_time);
  input_.clear();
  if (!watching_) watch();
}

}  // namespace qjl::server
