// Connections live and die on the I/O thread: a reply holds none, it only finds it there.
#include "reply.hpp"

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "connection.hpp"

namespace qjl::server {
namespace {

class ConnectionReply : public Reply {
 public:
  ConnectionReply(const std::shared_ptr<Connection>& connection, std::weak_ptr<boost::asio::io_context> io, std::uint64_t answer)
      : connection_(connection), io_(std::move(io)), answer_(answer) {}

  ~ConnectionReply() override {
    if (ended_) return;
    call([answer = answer_](Connection& connection) {
      connection.drop(answer, {.status = 500, .message = "the server failed to answer this request", .code = "internal_error"});
    });
  }

  void send(Response response) override {
    ended_ = true;
    call([answer = answer_, response = std::move(response)](Connection& connection) mutable {
      connection.send(answer, std::move(response));
    });
  }
  void begin(Headers headers) override {
    call([answer = answer_, headers = std::move(headers)](Connection& connection) mutable {
      connection.begin(answer, std::move(headers));
    });
  }
  void event(std::string data) override {
    call([answer = answer_, data = std::move(data)](Connection& connection) { connection.event(answer, data); });
  }
  void end() override {
    ended_ = true;
    call([answer = answer_](Connection& connection) { connection.end(answer); });
  }
  void on_gone(std::function<void()> gone) override {
    const auto io = io_.lock();
    if (!io) return gone();
    boost::asio::post(*io, [connection = connection_, answer = answer_, gone = std::move(gone)]() mutable {
      if (const auto found = connection.lock()) {
        found->on_gone(answer, std::move(gone));
      } else {
        gone();
      }
    });
  }

 private:
  template <typename F>
  void call(F function) {
    if (const auto io = io_.lock()) {
      boost::asio::post(*io, [connection = connection_, function = std::move(function)]() mutable {
        if (const auto found = connection.lock()) function(*found);
      });
    }
  }

  const std::weak_ptr<Connection> connection_;
  const std::weak_ptr<boost::asio::io_context> io_;
  const std::uint64_t answer_;
  std::atomic<bool> ended_ = false;
};

}  // namespace

std::shared_ptr<Reply> make_reply(const std::shared_ptr<Connection>& connection, const ConnectionContext& context,
                                  std::uint64_t answer) {
  return std::make_shared<ConnectionReply>(connection, context.io, answer);
}

}  // namespace qjl::server
