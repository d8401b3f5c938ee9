// Schemas of plain values as grammars: types, texts, patterns, formats, numbers.
#include "schema_fixture.hpp"

namespace qjl::server {
namespace {

TEST_F(Schemas, Types) {
  expect(R"({"type":"null"})", {"null"}, {"", "nul", "0"});
  expect(R"({"type":"boolean"})", {"true", "false"}, {"True", "null"});
  expect(R"({"type":"integer"})", {"0", "-1", "123456789012345"}, {"01", "1.5", "1e3", "1234567890123456", "-", "+1"});
  expect(R"({"type":"number"})", {"0", "-1.5", "1e3", "0.25E-07"}, {".5", "1.", "1e", "00", "1e400", "NaN"});
  expect(R"({"type":["string","null"]})", {R"("a")", "null"}, {"1"});
  expect("{}", {R"({"a":[1,{"b":null}]})", "[]", "1", R"("x")"}, {"[1,]", "{a:1}", "[1 ,2]", " 1"});
}

TEST_F(Schemas, Strings) {
  expect(R"({"type":"string"})", {R"("")", R"("\n\"\\\/\u00e9")", R"("\ud83d\ude00")", "\"\xC3\xA9\xF0\x9F\x98\x80\""},
         {"\"\n\"", R"("\x")", R"("\ud83d")", R"("\ude00")", "\"\xC3\"", "\"\xED\xA0\x80\"", "\"\xFF\"", "\"\xC0\x80\"",
          "\"\xE0\x89\x90\"", "\"\xF0\x85\xA0\x8B\"", "\"\xF4\x90\x80\x80\"", R"("a)"});
  expect(R"({"minLength":2,"maxLength":3})", {R"("ab")", R"("abc")", "\"\xC3\xA9\xC3\xA9\""},
         {R"("a")", R"("abcd")", R"("\u0041")", R"("\nab")", "\"\xC3\xA9\"", "\"\xED\xA0\x80zz\""});
  expect(R"({"maxLength":300})", {'"' + std::string(300, 'x') + '"', R"("")"}, {'"' + std::string(301, 'x') + '"'});
}

TEST_F(Schemas, Patterns) {
  expect(R"({"pattern":"^[z-\\uFFFD]{1,2}[z-\\uFFFD]*$"})", {"\"z\xC3\xA9\xE0\xA9\x90\xEF\xBF\xBD\""},
         {"\"\xC0\xBA\"", "\"\xE0\x89\x90\"", "\"zzz\xE0\x89\x90\"", "\"zzz\xED\xA0\x80\"", "\"a\""});
  expect(R"({"pattern":"^.[^a]$"})", {"\"\xE0\xA9\x90\xF0\x95\xA0\x8B\""},
         {"\"\xE0\x89\x90z\"", "\"z\xF0\x85\xA0\x8B\"", "\"z\xED\xA0\x80\""});
  expect(R"({"pattern":"^[a-c]{2}\\d*$"})", {R"("ab")", R"("cc07")"}, {R"("a")", R"("abc")", R"("xab")", "\"ab\xD9\xA0\""});
  expect(R"({"pattern":"a|^b"})", {R"("xay")", R"("by")"}, {R"("xb")", R"("")"});
  expect(R"({"pattern":"^(?:x|yz)+?.[^a-z\\]]\\.\\u0041$"})", {R"("xyz!Q.A")"}, {R"("!Q.A")", R"("x!q.A")"});
  expect(R"({"pattern":"^[\"\\\\\n]+$"})", {R"("\"\\\n")"}, {R"("a")", R"(""")"});
  expect(R"({"pattern":"^a{2,3}$","minLength":2,"maxLength":3})", {R"("aa")"}, {R"("a")"});
  for (const std::string bad : {R"(^(?=a))", R"((a)\\1)", R"(\\bx)", R"(\\p{L})", "a^b", "(a$)", "a{5000}", "(a*)*", "(?:[a-z]+)+",
                                "^(a{0,3}b?){2,9}$", "^.{1,9}$", "^(?:x[^y]){0,3}$", ".*.*.*.*.*.*.*.*"})
    EXPECT_NE(refusal(R"({"pattern":")" + bad + "\"}").find("`pattern`"), std::string::npos) << bad;
  for (const std::string bad : {"(", "a)", "[", "*", "a{2,1}", "a**", "[b-a]"})
    EXPECT_NE(refusal(R"({"pattern":")" + bad + "\"}").find("`pattern`"), std::string::npos) << bad;
}

TEST_F(Schemas, Formats) {
  expect(R"({"format":"date"})", {R"("2024-02-28")", R"("1999-12-31")"}, {R"("2024-02-30")", R"("2024-13-01")", R"("2024-1-1")"});
  expect(R"({"format":"date-time"})", {R"("2024-01-31T23:59:59Z")", R"("2024-01-31T00:00:00.5+02:00")"}, {R"("2024-01-31")"});
  expect(R"({"format":"uuid"})", {R"("01234567-89ab-cdef-0123-456789abcdef")"}, {R"("01234567")"});
  expect(R"({"format":"ipv4"})", {R"("255.0.10.1")"}, {R"("256.0.0.1")", R"("1.1.1")"});
  expect(R"({"format":"email"})", {R"("a.b@c-d.org")"}, {R"("a@b")", R"("@b.org")"});
}

TEST_F(Schemas, Numbers) {
  expect(R"({"type":"integer","minimum":-12,"maximum":105})", {"-12", "-1", "0", "9", "10", "99", "100", "105"},
         {"-13", "-20", "-100", "106", "110", "-0", "1000"});
  expect(R"({"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12})", {"10", "11"}, {"9", "12", "1", "-10"});
  expect(R"({"type":"integer","minimum":0.5,"multipleOf":1})", {"1", "999999999999999"}, {"0", "-1"});
  expect(R"({"type":"integer","maximum":-7})", {"-7", "-8", "-70"}, {"-6", "0", "7"});
  expect(R"({"type":"number","minimum":0,"maximum":1})", {"0", "0.0", "0.5", "1", "1.0", "1.000"}, {"1.01", "-0.1", "2", "1e5"});
  expect(R"({"type":"number","exclusiveMinimum":0,"maximum":2.25})", {"0.1", "2.25", "2.250", "1.99"}, {"0", "0.0", "2.26", "2.3"});
  expect(R"({"type":"number","minimum":-1.5,"exclusiveMaximum":-0.25})", {"-1.5", "-0.26", "-1"}, {"-1.51", "-0.25", "0", "-0.2"});
  expect(R"({"type":"number","maximum":1e300})", {"1e99", "5"}, {});
  EXPECT_NE(refusal(R"({"type":"integer","minimum":3,"maximum":2})").find("`minimum`"), std::string::npos);
  EXPECT_NE(refusal(R"({"type":"number","minimum":1e-20})").find("15 digits"), std::string::npos);
}

}  // namespace
}  // namespace qjl::server
