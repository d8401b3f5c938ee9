// Writes answers: whole ones, streams with their pings, and never more than a client takes.
#include <boost/asio/buffer.hpp>
#include <utility>

#include "connection.hpp"

namespace qjl::server {

void Connection::send(std::uint64_t answer, Response response) {
  if (!answers(answer) || streaming_) return;
  complete_ = true;
  write(response_bytes(response, extra_, keep_alive_ && !draining_, head_only_));
}

void Connection::begin(std::uint64_t answer, Headers headers) {
  if (!answers(answer) || streaming_) return;
  streaming_ = true;
  if (framing_ == Framing::close) keep_alive_ = false;
  headers.emplace_back("Cache-Control", "no-cache");
  headers.emplace_back("X-Accel-Buffering", "no");  // a proxy passes pieces on
  const Response head{.type = "text/event-stream; charset=utf-8", .headers = std::move(headers)};
  write(response_head(head, extra_, {framing_, keep_alive_ && !draining_}));
  set_ping();
}

void Connection::event(std::uint64_t answer, const std::string& data) {
  if (!answers(answer) || !streaming_) return;
  write(framed("data: " + data + "\n\n", framing_));
  set_ping();
}

void Connection::end(std::uint64_t answer) {
  if (!answers(answer) || !streaming_) return;
  complete_ = true;
  ping_.cancel();
  write(framing_ == Framing::chunks ? "0\r\n\r\n" : "");
}

void Connection::drop(std::uint64_t answer, const Fault& fault) {
  if (answers(answer)) cut_answer(fault);
}

void Connection::cut(const Fault& fault) {
  if (state_ == State::answering) {
    cut_answer(fault);
  } else {
    close();
  }
}

void Connection::cut_answer(const Fault& fault) {
  if (state_ != State::answering || complete_) return;
  keep_alive_ = false;
  const auto gone = std::exchange(on_gone_, nullptr);
  if (streaming_) {
    event(answer_, fault_body(fault));
    end(answer_);
  } else {
    send(answer_, fault_response(fault));
  }
  if (gone) gone();
}

void Connection::on_gone(std::uint64_t answer, std::function<void()> call) {
  if (answers(answer)) {
    on_gone_ = std::move(call);
  } else {
    call();
  }
}

void Connection::set_ping() {
  ping_.expires_after(config_.ping_time);
  ping_.async_wait([self = shared_from_this()](Code code) {
    const bool early = self->ping_.expiry() > boost::asio::steady_timer::clock_type::now();
    if (code || early || !self->answers(self->answer_) || !self->streaming_) return;
    self->write(framed(":\n\n", self->framing_));
    self->set_ping();
  });
}

void Connection::set_answer_deadline() {
  answer_deadline_.expires_after(config_.answer_time);
  answer_deadline_.async_wait([self = shared_from_this(), answer = answer_](Code code) {
    if (code || !self->answers(answer)) return;
    self->cut_answer({.status = 503, .message = "found an answer that takes too long (--request-timeout)", .code = "timeout"});
  });
}

void Connection::write(std::string bytes) {
  if (state_ == State::closed) return;
  // What waits already, without this: one event may be larger than the limit.
  if (streaming_ && !complete_ && unsent_.size() + sending_.size() - sent_ > config_.max_unsent_bytes) return client_gone();
  unsent_ += bytes;
  if (!writing_) write_some();
}

void Connection::write_some() {
  if (sent_ == sending_.size()) {
    sending_ = std::exchange(unsent_, {});
    sent_ = 0;
  }
  if (sending_.empty()) {
    if (complete_) answered();
    return;
  }
  writing_ = true;
  if (state_ == State::answering) set_deadline(config_.write_time);
  socket_.async_write_some(boost::asio::buffer(sending_.data() + sent_, sending_.size() - sent_),
                           [self = shared_from_this()](Code code, std::size_t bytes) { self->written(code, bytes); });
}

void Connection::written(Code code, std::size_t bytes) {
  writing_ = false;
  if (state_ == State::closed) return;
  if (code) return client_gone();
  sent_ += bytes;
  if (state_ == State::answering) no_deadline();
  write_some();
}

void Connection::answered() {
  if (state_ != State::answering) return;
  on_gone_ = nullptr;
  ping_.cancel();
  answer_deadline_.cancel();
  streaming_ = false;
  if (!keep_alive_ || draining_) return linger();
  state_ = State::idle;
  if (!watching_) return read_head();
  set_deadline(config_.idle_time);
  if (input_.size() == 0) return;
  Code ignored;
  socket_.cancel(ignored);  // the next request has begun to arrive: the pending read ends and makes room for its own
}

}  // namespace qjl::server
