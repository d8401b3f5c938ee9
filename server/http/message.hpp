// A request as it came, an answer, and the hand that gives it. Nothing here knows what carries them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qjl::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;    // GET, POST ...
  std::string path;      // decoded, without the query: /v1/models/name@k2v2
  Headers headers = {};  // names in lower case
  std::string body = {};

  // The first value of a header, "" when absent. name: lower case.
  std::string_view header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
};

struct Response {
  int status = 200;
  std::string type = "application/json";
  std::string body = {};
  Headers headers = {};
};

// Answers one request: send() once, or begin(), any number of event() and end(). Each may be called on any thread and returns at
// once; calls after the end, or after the client left, do nothing. A reply that is destroyed without an answer gives status 500.
class Reply {
 public:
  Reply() = default;
  virtual ~Reply() = default;
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  virtual void send(Response response) = 0;
  // Opens a stream of server-sent events; from here on silence is filled with comments.
  virtual void begin(Headers headers) = 0;
  // One event: "data: <data>", a blank line. data has no line break.
  virtual void event(std::string data) = 0;
  virtual void end() = 0;

  // Calls this once when the client has left before the end, or does not read; at once when that has been. On the I/O thread: it
  // must return soon. Dropped with the end of the answer.
  virtual void on_gone(std::function<void()> call) = 0;
};

// Called on the I/O thread for every request that passed the door; must return within milliseconds.
using Handler = std::function<void(Request, std::shared_ptr<Reply>)>;

}  // namespace qjl::server
