// Deadlines, the limit of connections, and the end of the HTTP server.
#include <atomic>
#include <list>

#include "raw_client.hpp"

namespace qjl::server {
namespace {

using std::chrono::milliseconds;

const std::string kGet = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

void answer(const Request&, const std::shared_ptr<Reply>& reply) { reply->send({.body = "{}"}); }

double seconds_to_answer(std::uint16_t port) {
  const auto start = std::chrono::steady_clock::now();
  RawClient client(port);
  client.send(kGet);
  EXPECT_TRUE(client.read_until("{}").ends_with("{}"));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(HttpLife, RequestsThatDoNotArriveAreGivenUp) {
  HttpConfig config;
  config.arrive_time = milliseconds(200);
  RunningServer running(config, answer);
  for (const char* part : {"POST / HTT", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"}) {
    RawClient client(running.port());
    client.send(part);
    EXPECT_TRUE(client.read_all().starts_with("HTTP/1.1 408")) << part;
    EXPECT_TRUE(client.closed());
  }
}

TEST(HttpLife, IdleConnectionsAreClosed) {
  HttpConfig config;
  config.idle_time = milliseconds(200);
  RunningServer running(config, answer);
  RawClient silent(running.port());
  EXPECT_EQ(silent.read_all(), "");
  EXPECT_TRUE(silent.closed());
  RawClient done(running.port());
  done.send(kGet);
  EXPECT_TRUE(done.read_until("{}").ends_with("{}"));
  EXPECT_EQ(done.read_all(), "");
  EXPECT_TRUE(done.closed());
}

TEST(HttpLife, HealthAnswersBesideHalfSentRequestsAndIdleConnections) {
  RunningServer running({}, answer);
  std::list<RawClient> clients;
  for (int i = 0; i < 64; ++i) clients.emplace_back(running.port()).send("POST /v1/completions HTTP/1.1\r\nHost: local");
  for (int i = 0; i < 200; ++i) clients.emplace_back(running.port());
  ASSERT_TRUE(RunningServer::eventually([&] { return running.server().num_connections() == 264; }));
  EXPECT_LT(seconds_to_answer(running.port()), 1.0);
}

TEST(HttpLife, ConnectionsAboveTheLimitAreRefused) {
  HttpConfig config;
  config.max_connections = 3;
  RunningServer running(config, answer);
  std::list<RawClient> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back(running.port());
  ASSERT_TRUE(RunningServer::eventually([&] { return running.server().num_connections() == 3; }));
  RawClient one_more(running.port());
  EXPECT_TRUE(one_more.read_all().starts_with("HTTP/1.1 503"));
  clients.pop_front();
  ASSERT_TRUE(RunningServer::eventually([&] { return running.server().num_connections() < 3; }));
  seconds_to_answer(running.port());
}

TEST(HttpLife, AnswersThatTakeTooLongEnd) {
  std::atomic<int> gone = 0;
  std::vector<std::shared_ptr<Reply>> open;
  HttpConfig config;
  config.answer_time = milliseconds(200);
  RunningServer running(config, [&](const Request& request, std::shared_ptr<Reply> reply) {
    if (request.path == "/stream") reply->begin({});
    reply->on_gone([&] { ++gone; });
    open.push_back(std::move(reply));
  });
  RawClient whole(running.port()), stream(running.port());
  whole.send(kGet);
  EXPECT_TRUE(whole.read_all().starts_with("HTTP/1.1 503"));
  stream.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_NE(stream.read_all().find("data: {\"error\":"), std::string::npos);
  EXPECT_EQ(gone, 2);
}

// A drain closes the door, lets an answer end, and cuts the one that does not.
TEST(HttpLife, ADrainLetsAnswersEnd) {
  std::vector<std::shared_ptr<Reply>> open;
  std::atomic<int> arrived = 0;
  HttpConfig config;
  config.port = 0;
  config.drain_time = milliseconds(500);
  HttpServer server(config, [&](const Request&, std::shared_ptr<Reply> reply) {
    reply->begin({});
    open.push_back(std::move(reply));
    ++arrived;
  });
  const auto port = server.port();
  std::thread io([&] { server.run(); });
  RawClient ends(port), hangs(port), idle(port);
  ends.send(kGet);
  hangs.send(kGet);
  ASSERT_TRUE(RunningServer::eventually([&] { return arrived == 2 && server.num_connections() == 3; }));
  server.drain();
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_TRUE(idle.closed());
  EXPECT_TRUE(RunningServer::eventually([&] { return !RawClient(port).connected(); }));
  open[0]->event("last words");
  open[0]->end();
  const std::string first = ends.read_all(), second = hangs.read_all();
  EXPECT_NE((first + second).find("data: last words\n\n\r\n0\r\n\r\n"), std::string::npos) << first << second;
  EXPECT_NE((first + second).find("server_stopped"), std::string::npos) << first << second;
  io.join();
}

}  // namespace
}  // namespace qjl::server
