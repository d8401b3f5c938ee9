// The HTTP server over raw sockets: what it takes, what it refuses before it takes memory, and how answers and connections end.
#include <atomic>
#include <mutex>

#include "raw_client.hpp"

namespace qjl::server {
namespace {

using std::chrono::milliseconds;

// Says what it got: "METHOD PATH BYTES".
void tell(Request request, const std::shared_ptr<Reply>& reply) {
  reply->send({.type = "text/plain", .body = request.method + " " + request.path + " " + std::to_string(request.body.size())});
}

std::string get(const std::string& path, const std::string& more = {}) {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n";
}
std::string post(const std::string& path, const std::string& body, const std::string& more = {}) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more +
         "\r\n" + body;
}

TEST(Http, AnswersOneRequestAfterAnotherOnOneConnection) {
  RunningServer running({}, tell);
  RawClient client(running.port());
  for (const std::string path : {"/a", "/b%40c?x=1"}) {
    client.send(post(path, "12345"));
    const std::string head = client.read_until("\r\n\r\n");
    EXPECT_NE(head.find("HTTP/1.1 200 OK"), std::string::npos) << head;
    EXPECT_NE(head.find("Connection: keep-alive"), std::string::npos) << head;
    const std::string body = path == "/a" ? "POST /a 5" : "POST /b@c 5";
    EXPECT_EQ(client.read_until(body), body);
  }
}

TEST(Http, RequestsThatComeTogetherAreAnsweredInOrder) {
  RunningServer running({}, tell);
  RawClient client(running.port());
  client.send(get("/1") + get("/2") + post("/3", "abc") + get("/4", "Connection: close\r\n"));
  const std::string all = client.read_all();
  EXPECT_TRUE(client.closed());
  std::size_t last = 0;
  for (const char* each : {"GET /1 0", "GET /2 0", "POST /3 3", "GET /4 0"}) {
    const auto place = all.find(each);
    ASSERT_NE(place, std::string::npos) << each << " in " << all;
    EXPECT_GE(place, last);
    last = place;
  }
}

TEST(Http, OldClientsGetAnAnswerThatEndsWithTheConnection) {
  RunningServer running({}, [](Request, const std::shared_ptr<Reply>& reply) {
    reply->begin({});
    reply->event("x");
    reply->end();
  });
  RawClient client(running.port());
  client.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
  const std::string all = client.read_all();
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(all.ends_with("\r\n\r\ndata: x\n\n")) << all;
}

TEST(Http, ChunkedBodiesArrive) {
  RunningServer running({}, tell);
  RawClient client(running.port());
  client.send("POST /c HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
  EXPECT_NE(client.read_until("POST /c 7").find("POST /c 7"), std::string::npos);
}

TEST(Http, ExpectContinueIsAnswered) {
  RunningServer running({}, tell);
  RawClient client(running.port());
  client.send("POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("ab");
  EXPECT_NE(client.read_until("POST /e 2").find("POST /e 2"), std::string::npos);
}

struct Wrong {
  const char* name;
  std::string bytes;
  int status;
};

TEST(Http, WrongBytesAreRefusedWithAStatusAndTheServerLivesOn) {
  HttpConfig config;
  config.max_body_bytes = 1000;
  config.max_head_bytes = 2000;
  RunningServer running(config, tell);
  std::string many_lines = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 400; ++i) many_lines += "x" + std::to_string(i) + ": y\r\n";
  const Wrong cases[] = {
      {"junk", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(200, '\x01') + "\r\n\r\n", 400},
      {"no version", "GET /\r\n\r\n", 400},
      {"a length that is none", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400},
      {"two lengths", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"length and chunks",
       "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"chunk of no size", "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {"escape of a zero byte", get("/a%00b"), 400},
      {"escape that is cut", get("/a%4"), 400},
      {"target that is no path", "GET a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"long line", get("/" + std::string(5000, 'a')), 431},
      {"many lines", many_lines + "\r\n", 431},
      {"long body", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n", 413},
      {"huge length", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400},
      {"foreign host", "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
      {"foreign origin", post("/", "", "Origin: http://evil.example\r\nContent-Type: text/plain\r\n"), 403},
  };
  for (const Wrong& wrong : cases) {
    RawClient client(running.port());
    client.send(wrong.bytes);
    const std::string answer = client.read_all();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(wrong.status))) << wrong.name << ": " << answer.substr(0, 300);
    EXPECT_NE(answer.find("{\"error\":{\"message\":\""), std::string::npos) << wrong.name;
    EXPECT_TRUE(client.closed()) << wrong.name;
  }
  RawClient client(running.port());
  client.send(get("/alive"));
  EXPECT_NE(client.read_until("GET /alive 0").find("GET /alive 0"), std::string::npos);
}

// A client that sends on after the refusal still reads it: closing at once would reset the connection.
TEST(Http, EndlessBodiesAreCutAndTheClientReadsWhy) {
  HttpConfig config;
  config.max_body_bytes = 100'000;
  RunningServer running(config, tell);
  RawClient client(running.port());
  client.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (int i = 0; i < 20; ++i) client.send(chunk);
  EXPECT_TRUE(client.read_until("body_too_large").starts_with("HTTP/1.1 413"));
}

TEST(Http, StreamsSendEventsAndPingsAndTheConnectionServesOn) {
  std::shared_ptr<Reply> open;
  std::atomic<bool> there = false;
  HttpConfig config;
  config.ping_time = milliseconds(100);
  RunningServer running(config, [&](Request request, std::shared_ptr<Reply> reply) {
    if (request.path == "/plain") return tell(request, reply);
    open = std::move(reply);
    open->begin({{"x-test", "1"}});
    there = true;
  });
  RawClient client(running.port());
  client.send(get("/stream"));
  const std::string head = client.read_until("\r\n\r\n");
  EXPECT_NE(head.find("text/event-stream"), std::string::npos);
  EXPECT_NE(head.find("x-test: 1"), std::string::npos);
  EXPECT_NE(client.read_until("3\r\n:\n\n\r\n").find(":\n\n"), std::string::npos);  // silence
  ASSERT_TRUE(there);
  open->event("one");
  EXPECT_NE(client.read_until("data: one\n\n").find("data: one"), std::string::npos);
  open->end();
  open.reset();
  EXPECT_NE(client.read_until("0\r\n\r\n").find("0\r\n\r\n"), std::string::npos);
  client.send(get("/plain"));
  EXPECT_NE(client.read_until("GET /plain 0").find("GET /plain 0"), std::string::npos);
}

TEST(Http, AClientWhoLeavesIsNoticedWhateverItWaitsFor) {
  std::mutex mutex;
  std::vector<std::shared_ptr<Reply>> open;
  std::atomic<int> gone = 0;
  RunningServer running({}, [&](const Request& request, std::shared_ptr<Reply> reply) {
    if (request.path == "/stream") reply->begin({});
    reply->on_gone([&] { ++gone; });
    const std::lock_guard lock(mutex);
    open.push_back(std::move(reply));
  });
  for (const char* path : {"/stream", "/whole"}) {
    RawClient client(running.port());
    client.send(post(path, "x"));
    const auto wanted = path == std::string("/stream") ? 1U : 2U;
    ASSERT_TRUE(RunningServer::eventually([&] {
      const std::lock_guard lock(mutex);
      return open.size() == wanted;
    }));
  }
  EXPECT_TRUE(RunningServer::eventually([&] { return gone == 2; }));
  EXPECT_TRUE(RunningServer::eventually([&] { return running.server().num_connections() == 0; }));
  for (auto& reply : open) reply->send({});  // too late: nothing happens
}

TEST(Http, AClientWhoDoesNotReadAStreamIsDropped) {
  std::atomic<bool> gone = false;
  std::shared_ptr<Reply> open;
  HttpConfig config;
  config.max_unsent_bytes = 100'000;
  RunningServer running(config, [&](const Request&, std::shared_ptr<Reply> reply) {
    reply->on_gone([&] { gone = true; });
    reply->begin({});
    open = std::move(reply);
  });
  RawClient client(running.port());
  client.send(get("/"));
  client.read_until("\r\n\r\n");
  const std::string data(10'000, 'x');
  for (int i = 0; i < 3000 && !gone; ++i) {
    open->event(data);
    if (i % 100 == 0) std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(RunningServer::eventually([&] { return gone.load(); }));
}

TEST(Http, AnEventLargerThanTheLimitArrives) {
  HttpConfig config;
  config.max_unsent_bytes = 1000;
  RunningServer running(config, [&](const Request&, const std::shared_ptr<Reply>& reply) {
    reply->begin({});
    reply->event(std::string(100'000, 'x') + "!");
    reply->end();
  });
  RawClient client(running.port());
  client.send(get("/"));
  EXPECT_TRUE(client.read_until("!\n\n").ends_with("x!\n\n"));
}

TEST(Http, AClientWhoSendsMuchAheadAndLeavesIsNoticed) {
  std::atomic<bool> gone = false;
  std::shared_ptr<Reply> open;
  RunningServer running({}, [&](const Request&, std::shared_ptr<Reply> reply) {
    if (open) return;
    reply->on_gone([&] { gone = true; });
    open = std::move(reply);
  });
  {
    RawClient client(running.port());
    for (int i = 0; i < 3000; ++i) client.send(get("/"));
  }
  EXPECT_TRUE(RunningServer::eventually([&] { return gone.load(); }));
}

TEST(Http, RepliesThatAreLostGiveAStatus) {
  RunningServer running({}, [](const Request&, const std::shared_ptr<Reply>&) {});
  RawClient client(running.port());
  client.send(get("/"));
  EXPECT_NE(client.read_until("internal_error").find("HTTP/1.1 500"), std::string::npos);
}

}  // namespace
}  // namespace qjl::server
