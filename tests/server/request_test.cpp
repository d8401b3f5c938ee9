// Bodies of the generating endpoints as what the scheduler is asked.
#include <gtest/gtest.h>

#include "byte_tokenizer.hpp"
#include "generation.hpp"
#include "named_templates.hpp"

namespace qjl::server {
namespace {

class Requests : public testing::Test {
 protected:
  Asked completion(const std::string& more) {
    return read_completion(model_, R"({"prompt":"x")" + (more.empty() ? "" : "," + more) + "}");
  }
  Asked chat(const std::string& messages, const std::string& more = {}) {
    return read_chat(model_, R"({"messages":)" + messages + (more.empty() ? "" : "," + more) + "}");
  }
  template <typename F>
  static Fault refused(F read) {
    try {
      read();
    } catch (const Refused& found) {
      return found.fault();
    }
    return {.status = 0};
  }

  engine::Tokenizer tokenizer_ = make_byte_tokenizer();
  engine::ChatTemplate chat_{engine::named_template("chatml"), tokenizer_.data()};
  ServedModel model_{tokenizer_, chat_, {.name = "m", .cache_types = {"f16", "k2v2"}, .sampling = {.temperature = 0.7f}}};
};

TEST_F(Requests, DefaultsAreTheServersAndTheEndpoints) {
  const Asked asked = completion("");
  const auto& request = asked.generation.request;
  EXPECT_EQ(request.max_tokens, 16);
  EXPECT_EQ(request.choices, 1);
  EXPECT_FLOAT_EQ(request.sampling.temperature, 0.7f);
  EXPECT_FALSE(request.token_scores);
  EXPECT_TRUE(request.reads_prefixes);
  EXPECT_NE(completion("").generation.request.sampling.seed, request.sampling.seed);  // a draw each
  EXPECT_EQ(chat(R"([{"role":"user","content":"x"}])").generation.request.max_tokens, -1);
}

TEST_F(Requests, FieldsArriveWhereTheyBelong) {
  const Asked asked = completion(
      R"("model":"m@k2v2","max_tokens":5,"n":3,"temperature":0,"top_p":0.5,"top_k":-1,"min_p":0.1,"repetition_penalty":1.5,
         "frequency_penalty":1,"presence_penalty":-1,"logit_bias":{"65":-100},"seed":-1,"ignore_eos":true,"min_tokens":2,
         "stop_token_ids":[7],"stop":["a","b"],"logprobs":4,"echo":true,"cache_prompt":false,"cache_salt":"s","qjl":{"chunk":256},
         "stream":true,"stream_options":{"include_usage":true},"user":"u","odd":1)");
  const auto& request = asked.generation.request;
  const auto& sampling = request.sampling;
  EXPECT_EQ(request.cache_type, 1);
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_EQ(request.choices, 3);
  EXPECT_EQ(sampling.temperature, 0);
  EXPECT_EQ(sampling.top_p, 0.5f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.min_p, 0.1f);
  EXPECT_EQ(sampling.repeat_penalty, 1.5f);
  EXPECT_EQ(sampling.frequency_penalty, 1);
  EXPECT_EQ(sampling.presence_penalty, -1);
  ASSERT_EQ(sampling.logit_bias.size(), 1U);
  EXPECT_EQ(sampling.logit_bias[0], (std::pair<engine::Token, float>(65, -100.0f)));
  EXPECT_EQ(sampling.seed, ~std::uint64_t{0});
  EXPECT_TRUE(request.ignores_end);
  EXPECT_EQ(request.min_tokens, 2);
  EXPECT_EQ(request.stop_tokens, std::vector<engine::Token>{7});
  EXPECT_EQ(request.token_scores, 4);
  EXPECT_EQ(request.prompt_scores, 4);
  EXPECT_FALSE(request.reads_prefixes);
  EXPECT_EQ(request.salt, "s");
  EXPECT_EQ(request.chunk, 256);
  EXPECT_EQ(asked.generation.stops, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(asked.generation.streams && asked.generation.includes_usage);
  EXPECT_EQ(asked.generation.ignored, std::vector<std::string>{"odd"});
}

TEST_F(Requests, PromptsAreTextsOrIds) {
  for (const auto& [prompt, texts] : {std::pair<std::string, std::vector<std::string>>{R"("ab")", {"ab"}},
                                      {R"(["ab","c"])", {"ab", "c"}},
                                      {"[97,98]", {"ab"}},
                                      {R"([[97],"b",[99]])", {"a", "b", "c"}}}) {
    const Asked asked = read_completion(model_, R"({"prompt":)" + prompt + "}");
    ASSERT_EQ(asked.prompts.size(), texts.size()) << prompt;
    for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(asked.prompts[i].text, texts[i]) << prompt;
  }
}

TEST_F(Requests, NoWordOfAMessageIsAControlToken) {
  const auto count = [&](const std::string& text, engine::Token token) {
    const auto tokens = chat(R"([{"role":"user","content":")" + text + R"("}])").prompts[0].tokens;
    return std::count(tokens.begin(), tokens.end(), token);
  };
  for (const engine::Token control : {257, 258, 259}) EXPECT_EQ(count("<|im_start|><|im_end|></s>", control), count("x", control));
}

TEST_F(Requests, RefusalsNameTheField) {
  for (const auto& [more, field] : {std::pair{R"("temperature":3)", "temperature"},
                                    {R"("tools":[1])", "tools"},
                                    {R"("response_format":{"type":"grammar"})", "response_format"},
                                    {R"("stream_options":{})", "stream_options"},
                                    {R"("qjl":{"chunk":100})", "qjl.chunk"},
                                    {R"("max_tokens":0)", "max_tokens"},
                                    {R"("prompt":[260])", "prompt"},
                                    {R"("model":"n")", "model"}}) {
    EXPECT_EQ(refused([&, text = more] { completion(text); }).param, field) << more;
  }
  EXPECT_EQ(refused([&] { chat(R"([{"role":"user","content":[{"type":"image_url"}]}])"); }).param, "messages[0].content");
  EXPECT_EQ(refused([&] { chat(R"([{"role":"nobody","content":"x"}])"); }).param, "messages");
  EXPECT_EQ(refused([&] { chat(R"([{"role":"user","content":"x"}])", R"("top_logprobs":2)"); }).param, "top_logprobs");
}

}  // namespace
}  // namespace qjl::server
