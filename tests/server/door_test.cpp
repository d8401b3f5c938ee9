// Hosts, origins and keys.
#include "door.hpp"

#include <gtest/gtest.h>

namespace qjl::server {
namespace {

Request head(const char* method, const char* path, Headers headers) {
  return {.method = method, .path = path, .headers = std::move(headers)};
}

int status(const Door& door, const Request& request) {
  const auto fault = refuse(door, request);
  return fault ? fault->status : 200;
}

TEST(Door, OnLoopbackOnlyItsNamesAreHosts) {
  Door door;
  for (const char* host : {"localhost", "LocalHost:8000", "127.0.0.1:80", "127.8.9.10", "[::1]", "[::1]:8000", "x.localhost:1"})
    EXPECT_EQ(status(door, head("GET", "/props", {{"host", host}})), 200) << host;
  for (const char* host : {"", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.1", "[::2]", "0.0.0.0"})
    EXPECT_EQ(status(door, head("GET", "/props", {{"host", host}})), 403) << host;
  door.allowed_hosts = {"box.lan"};
  EXPECT_EQ(status(door, head("GET", "/", {{"host", "Box.Lan:8000"}})), 200);
  EXPECT_EQ(status({.loopback = false}, head("GET", "/", {{"host", "anything"}})), 200);
}

TEST(Door, PagesOfOtherOriginsMayNotPost) {
  Door door;
  const auto post = [](const char* origin) { return head("POST", "/x", {{"host", "localhost:8000"}, {"origin", origin}}); };
  EXPECT_EQ(status(door, post("http://localhost:8000")), 200);
  for (const char* origin : {"http://localhost:3000", "http://evil.example", "null", "http://localhost:8000.evil.example"})
    EXPECT_EQ(status(door, post(origin)), 403) << origin;
  EXPECT_EQ(status(door, head("DELETE", "/x", {{"host", "localhost"}, {"origin", "http://a"}})), 403);
  EXPECT_TRUE(cors_headers(door, post("http://a")).empty());
  door.cors_origins = {"http://a"};
  EXPECT_EQ(status(door, post("http://A")), 200);
  EXPECT_EQ(status(door, post("http://b")), 403);
  EXPECT_FALSE(cors_headers(door, post("http://a")).empty());
}

TEST(Door, APageThatMayCallMaySendItsHeaders) {
  Door door;
  door.cors_origins = {"http://a"};
  const auto allowed = [&](const char* origin, const char* names) {
    const auto response = preflight(door, head("OPTIONS", "/x",
                                               {{"host", "localhost"},
                                                {"origin", origin},
                                                {"access-control-request-method", "POST"},
                                                {"access-control-request-headers", names}}));
    if (!response) return std::string("refused");
    for (const auto& [name, value] : response->headers) {
      if (name == "Access-Control-Allow-Headers") return value;
    }
    return std::string();
  };
  EXPECT_EQ(allowed("http://a", "x-stainless-os, x-other"), "x-stainless-os, x-other");
  EXPECT_EQ(allowed("http://a", "x-a\r\nSet-Cookie: b"), "x-aSet-Cookie: b");
  EXPECT_EQ(allowed("http://a", ""), "Authorization, Content-Type, x-request-id");
  EXPECT_EQ(allowed("http://b", "x-other"), "refused");
}

TEST(Door, KeysAreWantedWhereOneIsSet) {
  const auto asks = [](const char* path, const char* key) {
    Headers headers = {{"host", "localhost"}};
    if (*key != '\0') headers.emplace_back("authorization", key);
    return head("POST", path, headers);
  };
  EXPECT_EQ(status({}, asks("/x", "Bearer whatever")), 200);
  const Door door{.keys = {"secret", "other"}};
  for (const char* key : {"Bearer secret", "bearer other", "BEARER  secret"}) EXPECT_EQ(status(door, asks("/x", key)), 200) << key;
  for (const char* key : {"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secretx", "Basic secret"})
    EXPECT_EQ(status(door, asks("/x", key)), 401) << key;
  EXPECT_EQ(status(door, head("GET", "/health", {{"host", "localhost"}})), 200);
  EXPECT_EQ(status(door, head("GET", "/", {{"host", "localhost"}})), 200);
  EXPECT_EQ(status(door, head("GET", "/cache", {{"host", "localhost"}})), 401);
}

TEST(Door, SecretsAreEqualOnlyWhole) {
  EXPECT_TRUE(same_secret("", ""));
  EXPECT_TRUE(same_secret("abc", "abc"));
  for (const char* other : {"", "ab", "abcabc", "abx", "Abc"}) EXPECT_FALSE(same_secret("abc", other)) << other;
  EXPECT_FALSE(same_secret("", "abc"));
  EXPECT_FALSE(same_secret("abcabc", "abc"));
}

}  // namespace
}  // namespace qjl::server
