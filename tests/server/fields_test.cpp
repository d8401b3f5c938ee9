// Fields of requests: types, ranges, names in refusals; bodies that are no JSON.
#include "fields.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace qjl::server {
namespace {

// The fault that reading `json` so gives; status 0 for none.
Fault fault_of(const std::string& json, const std::function<void(Fields&)>& read) {
  try {
    const Json body = parse_body(json);
    Fields fields(body);
    read(fields);
  } catch (const Refused& refused) {
    return refused.fault();
  }
  return {.status = 0};
}

TEST(Fields, BodiesThatAreNoObjectsAreRefused) {
  const auto nothing = [](Fields&) {};
  const std::string deep(100'000, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("{\"a\":1"), std::string("[1]"), std::string("null"),
        std::string("{\"a\":\"\xff\"}"), std::string("{\"a\":\"\\ud800\"}"), std::string("{\"a\":1e999}"),
        std::string("{\"a\":NaN}"), std::string("{} {}"), "{\"a\":" + deep, deep + std::string(100'000, ']')}) {
    const Fault fault = fault_of(body, nothing);
    EXPECT_EQ(fault.status, 400) << body.substr(0, 50);
    EXPECT_NE(fault.message.find("wanted"), std::string::npos);
    EXPECT_NO_THROW(Json::parse(fault_body(fault)));
  }
  EXPECT_EQ(fault_of("{\"a\": {\"b\": [\"\\ud83d\\ude00\"]}}", nothing).status, 0);
}

struct Case {
  const char* json;
  bool fits;
};

TEST(Fields, NumbersHaveTypesAndRanges) {
  for (const Case& each :
       {Case{"{}", true}, Case{"{\"x\":null}", true}, Case{"{\"x\":0}", true}, Case{"{\"x\":2.0}", true}, Case{"{\"x\":1.5}", true},
        Case{"{\"x\":-0.1}", false}, Case{"{\"x\":2.1}", false}, Case{"{\"x\":\"1\"}", false}, Case{"{\"x\":true}", false},
        Case{"{\"x\":[1]}", false}, Case{"{\"x\":{}}", false}}) {
    const Fault fault = fault_of(each.json, [](Fields& fields) { fields.number("x", 0, 2); });
    EXPECT_EQ(fault.status, each.fits ? 0 : 400) << each.json;
    EXPECT_EQ(fault.param, each.fits ? "" : "x") << each.json;
  }
  for (const Case& each :
       {Case{"{\"x\":5}", true}, Case{"{\"x\":1}", true}, Case{"{\"x\":0}", false}, Case{"{\"x\":11}", false},
        Case{"{\"x\":5.0}", false}, Case{"{\"x\":18446744073709551615}", false}, Case{"{\"x\":-9223372036854775808}", false},
        Case{"{\"x\":99999999999999999999}", false}, Case{"{\"x\":true}", false}, Case{"{\"x\":\"5\"}", false}}) {
    EXPECT_EQ(fault_of(each.json, [](Fields& fields) { fields.whole("x", 1, 10); }).status, each.fits ? 0 : 400) << each.json;
  }
}

TEST(Fields, TextsFlagsAndIds) {
  const auto texts = [](const char* json) { return fault_of(json, [](Fields& fields) { fields.texts("x", 2); }).status; };
  for (const char* json : {"{}", "{\"x\":\"a\"}", "{\"x\":[]}", "{\"x\":[\"a\",\"b\"]}"}) EXPECT_EQ(texts(json), 0) << json;
  for (const char* json : {"{\"x\":\"\"}", "{\"x\":[\"\"]}", "{\"x\":[1]}", "{\"x\":1}", "{\"x\":[\"a\",\"b\",\"c\"]}"})
    EXPECT_EQ(texts(json), 400) << json;
  const auto ids = [](const char* json) { return fault_of(json, [](Fields& fields) { fields.ids("x", 10); }).status; };
  for (const char* json : {"{\"x\":[]}", "{\"x\":[0,9]}"}) EXPECT_EQ(ids(json), 0) << json;
  for (const char* json : {"{\"x\":[10]}", "{\"x\":[-1]}", "{\"x\":[1.0]}", "{\"x\":[true]}", "{\"x\":[\"1\"]}", "{\"x\":5}",
                           "{\"x\":[4294967296]}", "{\"x\":[18446744073709551615]}"})
    EXPECT_EQ(ids(json), 400) << json;
  const auto flag = [](const char* json) { return fault_of(json, [](Fields& fields) { fields.flag("x"); }).status; };
  EXPECT_EQ(flag("{\"x\":true}"), 0);
  for (const char* json : {"{\"x\":1}", "{\"x\":\"true\"}", "{\"x\":[]}"}) EXPECT_EQ(flag(json), 400) << json;
}

TEST(Fields, RefusedFieldsAreNamedUnlessTheyAreEmpty) {
  const auto read = [](Fields& fields) { fields.refuse({"tools"}); };
  for (const char* json : {"{}", "{\"tools\":null}", "{\"tools\":[]}", "{\"tools\":{}}", "{\"tools\":\"\"}", "{\"tools\":false}"})
    EXPECT_EQ(fault_of(json, read).status, 0) << json;
  for (const char* json : {"{\"tools\":[1]}", "{\"tools\":\"x\"}", "{\"tools\":0}", "{\"tools\":true}"}) {
    const Fault fault = fault_of(json, read);
    EXPECT_EQ(fault.status, 400) << json;
    EXPECT_EQ(fault.param, "tools");
    EXPECT_EQ(fault.code, "unsupported_parameter");
  }
}

TEST(Fields, WhatNobodyAskedForIsTold) {
  const Json body = parse_body("{\"a\":1,\"b\":{\"c\":2},\"strange name\\n,\":3,\"user\":\"x\"}");
  Fields fields(body);
  fields.whole("a", 0, 9);
  fields.accept({"user"});
  auto inner = fields.object("b");
  ASSERT_TRUE(inner);
  EXPECT_EQ(inner->unknown(), std::vector<std::string>{"b.c"});
  EXPECT_EQ(fields.unknown(), std::vector<std::string>{"strange?name??"});
}

TEST(Fields, FaultsAreWholeObjects) {
  const Json json = Json::parse(fault_body({.status = 404, .message = "found \xff, wanted text"}));
  EXPECT_EQ(json["error"]["type"], "not_found_error");
  EXPECT_TRUE(json["error"]["param"].is_null());
  EXPECT_TRUE(json["error"]["code"].is_null());
  for (const auto& [status, type] : {std::pair{400, "invalid_request_error"},
                                     {401, "authentication_error"},
                                     {403, "permission_error"},
                                     {413, "invalid_request_error"},
                                     {429, "rate_limit_error"},
                                     {500, "server_error"},
                                     {503, "server_error"}})
    EXPECT_EQ(fault_type(status), type);
}

}  // namespace
}  // namespace qjl::server
