// Schemas of lists, objects and alternatives, as grammars.
#include "schema_fixture.hpp"

namespace qjl::server {
namespace {

TEST_F(Schemas, Lists) {
  expect(R"({"items":{"type":"integer"},"minItems":1,"maxItems":3})", {"[1]", "[1, 2,3]"},
         {"[]", "[1,2,3,4]", "[1 ,2]", "[\"a\"]"});
  expect(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
  expect(R"({"prefixItems":[{"type":"integer"},{"type":"null"}]})", {"[]", "[1]", "[1,null]"}, {"[null]", "[1,null,1]"});
  expect(R"({"prefixItems":[{"type":"integer"},{"type":"null"}],"items":{"type":"boolean"},"minItems":2})",
         {"[1,null]", "[1,null,true,false]"}, {"[1]", "[1,null,1]"});
  expect(R"({"prefixItems":[{"type":"integer"}],"items":false,"minItems":1,"maxItems":1})", {"[1]"}, {"[]", "[1,1]"});
  expect(R"({"items":{"const":0},"minItems":130,"maxItems":131})", {list_of("0", 130), list_of("0", 131)},
         {list_of("0", 129), list_of("0", 132)});
}

TEST_F(Schemas, Objects) {
  const std::string two = R"({"properties":{"a":{"type":"integer"},"b":{"type":"null"},"c":{"const":1}},"required":["b"])";
  expect(two + "}", {R"({"b":null})", R"({"a": 1, "b": null,"c":1})", R"({"b":null,"c":1})"},
         {"{}", R"({"a":1})", R"({"b":null,"a":1})", R"({"b":null,"d":1})", R"({"b":null,})", R"({ "b":null})"});
  expect(two + R"(,"additionalProperties":{"type":"boolean"}})",
         {R"({"b":null,"d":true,"e":false})", R"({"b":null,"aa":true,"":true})"},
         {R"({"b":null,"a":true})", R"({"b":null,"c":true})", R"({"b":null,"d":1})", R"({"b":null,"\u0061":true})"});
  expect(R"({"type":"object"})", {"{}", R"({"x":{"y":[1]}})"}, {"[]", "{1:2}"});
  expect(R"({"type":"object","additionalProperties":false})", {"{}"}, {R"({"x":1})"});
  expect(R"({"additionalProperties":{"type":"null"},"maxProperties":2})", {"{}", R"({"a":null,"b":null})"},
         {R"({"a":null,"b":null,"c":null})"});
  expect(R"({"required":["x"]})", {R"({"x":[1]})"}, {"{}", R"({"y":1})"});
  expect(R"({"properties":{"a":false,"b":true}})", {"{}", R"({"b":0})"}, {R"({"a":0})"});
  expect(R"({"properties":{"\"\\\n":{"const":"\u00e9"}},"required":["\"\\\n"]})", {"{\"\\\"\\\\\\n\":\"\xC3\xA9\"}"}, {"{}"});
}

TEST_F(Schemas, ListedValues) {
  expect(R"({"enum":["a",1,null,{"x":[1,2]}]})", {R"("a")", "1", "null", R"({"x":[1,2]})"}, {"2", R"("b")"});
  expect(R"({"enum":["a",1,2.5],"type":["integer","null"]})", {"1"}, {R"("a")", "2.5", "null"});
  expect(R"({"const":{"k":"v"}})", {R"({"k":"v"})"}, {R"({"k":"w"})"});
}

TEST_F(Schemas, Alternatives) {
  expect(R"({"anyOf":[{"type":"integer"},{"type":"array","items":{"type":"null"}}]})", {"1", "[null,null]"}, {"null", "[1]"});
  expect(R"({"oneOf":[{"type":"integer"},{"type":"string"}]})", {"1", R"("a")"}, {"null"});
  expect(R"({"oneOf":[{"properties":{"k":{"const":"a"},"n":{"type":"integer"}},"required":["k","n"],"type":"object"},
                      {"properties":{"k":{"enum":["b","c"]}},"required":["k"],"type":"object"}]})",
         {R"({"k":"a","n":1})", R"({"k":"c"})"}, {R"({"k":"b","n":1})", R"({"k":"a"})"});
  expect(R"({"allOf":[{"type":"null"}],"title":"t"})", {"null"}, {"1"});
  for (const std::string both :
       {R"([{"type":"integer"},{"type":"number"}])", R"([{"const":1},{"enum":[1.0,2]}])", R"([{},{"type":"null"}])",
        R"([{"type":"object","properties":{"k":{"const":1}}},{"type":"object","properties":{"k":{"const":2}}}])"})
    EXPECT_NE(refusal(R"({"oneOf":)" + both + "}").find("`oneOf`"), std::string::npos) << both;
}

TEST_F(Schemas, References) {
  expect(
      R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},
              "required":["v","next"]}},"$ref":"#/$defs/n"})",
      {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"}, {R"({"v":1})", R"({"v":1,"next":{}})"});
  expect(R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]"});
  expect(R"({"properties":{"a/b":{"type":"null"},"c":{"$ref":"#/properties/a~1b","description":"d"}}})",
         {R"({"a/b":null,"c":null})"}, {R"({"c":1})"});
  EXPECT_NE(refusal(R"({"$ref":"#"})").find("endless"), std::string::npos);
  EXPECT_NE(refusal(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})").find("endless"), std::string::npos);
  EXPECT_NE(refusal(R"({"$ref":"#/$defs/x"})").find("nothing"), std::string::npos);
  for (const std::string elsewhere : {"https://example.org/s", "other", "#name", "#/%24defs/x"})
    EXPECT_NE(refusal(R"({"$ref":")" + elsewhere + "\"}").find("`$ref`"), std::string::npos) << elsewhere;
}

// What stands alone, beside types, or beside what speaks for itself.
TEST(SchemaWords, WhatIsNotEnforcedIsRefusedByName) {
  for (const std::string name : {"not",
                                 "if",
                                 "then",
                                 "else",
                                 "dependentRequired",
                                 "dependentSchemas",
                                 "dependencies",
                                 "patternProperties",
                                 "propertyNames",
                                 "unevaluatedProperties",
                                 "unevaluatedItems",
                                 "contains",
                                 "minContains",
                                 "maxContains",
                                 "contentEncoding",
                                 "contentMediaType",
                                 "contentSchema",
                                 "$dynamicRef",
                                 "$dynamicAnchor",
                                 "$anchor",
                                 "$vocabulary",
                                 "nullable",
                                 "additionalItems",
                                 "x-mine"}) {
    for (const std::string beside :
         {"", R"("type":"object",)", R"("$ref":"#/$defs/a","$defs":{"a":{}},)", R"("enum":[1],)", R"("anyOf":[{}],)"})
      EXPECT_NE(refusal("{" + beside + "\"" + name + "\":{}}").find("`" + name + "`"), std::string::npos)
          << name << " beside " << beside;
  }
  for (const auto& [schema, name] : {std::pair<std::string, std::string>{R"({"type":"string","format":"uri"})", "format"},
                                     {R"({"type":"number","multipleOf":2})", "multipleOf"},
                                     {R"({"type":"array","uniqueItems":true})", "uniqueItems"},
                                     {R"({"type":"array","items":[{}]})", "items"},
                                     {R"({"allOf":[{},{}]})", "allOf"},
                                     {R"({"enum":["a"],"minLength":1})", "minLength"},
                                     {R"({"anyOf":[{}],"type":"string"})", "type"},
                                     {R"({"type":"string","maxLength":5000})", "maxLength"},
                                     {R"({"type":"string","pattern":"a","maxLength":5})", "maxLength"},
                                     {R"({"type":"object","minProperties":1})", "minProperties"},
                                     {R"({"properties":{"a":{},"b":{}},"maxProperties":1})", "maxProperties"},
                                     {R"({"properties":{"a":{"$id":"x"}}})", "$id"}})
    EXPECT_NE(refusal(schema).find("`" + name + "`"), std::string::npos) << schema << ": " << refusal(schema);
}

TEST(SchemaWords, AnnotationsArePassedOver) {
  EXPECT_EQ(
      refusal(R"({"$schema":"s","$id":"i","$comment":"c","title":"t","description":"d","default":1,"examples":[],"deprecated":true,
                        "readOnly":true,"writeOnly":false,"$defs":{"unused":{"not":{}}},"definitions":{},"type":"null"})"),
      "");
}

TEST(SchemaWords, WhatIsNoSchemaIsRefusedWithItsPlace) {
  for (const std::string schema :
       {R"({"properties":{"a":1}})", R"({"properties":{"a":{"type":"text"}}})", R"({"properties":{"a":{"enum":[]}}})",
        R"({"properties":{"a":{"minLength":-1}}})", R"({"properties":{"a":{"minLength":2,"maxLength":1}}})",
        R"({"properties":{"a":{"anyOf":[]}}})", R"({"properties":{"a":{"required":"x"}}})", R"({"properties":{"a":{"type":[]}}})",
        R"({"properties":{"a":{"minLength":1,"minimum":1}}})", R"({"properties":{"a":{"const":9007199254740994}}})",
        R"({"properties":{"a":false},"required":["a"]})"})
    EXPECT_NE(refusal(schema).find("#/properties/a"), std::string::npos) << schema << ": " << refusal(schema);
}

TEST(SchemaWords, WhatWouldBecomeTooLargeIsRefused) {
  std::string names, counts = R"({"type":"null"})";
  for (int i = 0; i < 129; ++i) names += (i > 0 ? ",\"n" : "\"n") + std::to_string(i) + R"(":{"type":"null"})";
  EXPECT_NE(refusal(R"({"properties":{)" + names + "}}").find("`properties`"), std::string::npos);
  EXPECT_NE(refusal(R"({"anyOf":[{"properties":{)" + names + R"(},"required":[]},{}]})").find("`properties`"), std::string::npos);
  EXPECT_NE(refusal(R"({"anyOf":[{})" + repeated(",{}", 128) + "]}").find("`anyOf`"), std::string::npos);
  EXPECT_NE(refusal(R"({"const":")" + repeated("x", 60001) + "\"}").find("smaller counts"), std::string::npos);
  for (int i = 0; i < 6; ++i) counts = R"({"minItems":100,"items":)" + counts + "}";
  EXPECT_EQ(refusal(counts), "");  // a rule a level: what is in a list is counted once
}

}  // namespace
}  // namespace qjl::server
