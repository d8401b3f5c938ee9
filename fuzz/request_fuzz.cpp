// Any bytes as the body of a request to either generating endpoint: refused with a status of 400 or 404 and a whole error object, or a
// request whose numbers are in their ranges and whose tokens are in the vocabulary.
#include <nlohmann/json.hpp>
#include <string>

#include "byte_tokenizer.hpp"
#include "fuzz_input.hpp"
#include "generation.hpp"
#include "named_templates.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"

using namespace qjl::server;
using qjl::engine::Token;
using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

void check(const Asked& asked, std::int64_t vocab_size) {
  const auto& request = asked.generation.request;
  require(request.choices >= 1 && request.choices <= qjl::engine::kMostChoices, "n");
  require(request.sampling.temperature >= 0 && request.sampling.temperature <= 2, "temperature");
  require(request.chunk % qjl::kTokensPerPage == 0, "chunk");
  require(!request.token_scores || (*request.token_scores >= 0 && *request.token_scores <= qjl::engine::kMostTopScores),
          "logprobs");
  for (const auto& stop : asked.generation.stops) require(!stop.empty(), "stops are not empty");
  require(!asked.prompts.empty(), "a prompt");
  for (const auto& prompt : asked.prompts) {
    require(!prompt.tokens.empty(), "prompts are not empty");
    for (const Token token : prompt.tokens) require(token >= 0 && token < vocab_size, "tokens are in the vocabulary");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const qjl::engine::Tokenizer tokenizer = make_byte_tokenizer();
  static const qjl::engine::ChatTemplate chat(qjl::engine::named_template("chatml"), tokenizer.data());
  static const ServedModel model(tokenizer, chat, {.name = "m", .cache_types = {"f16", "k2v2"}});
  FuzzInput input(data, size);
  const bool is_chat = input.below(2) == 1;
  const std::string body = input.rest();
  try {
    check(is_chat ? read_chat(model, body) : read_completion(model, body), tokenizer.vocab_size());
  } catch (const Refused& refused) {
    const auto& fault = refused.fault();
    require(fault.status == 400 || fault.status == 404, "a caller's fault");
    require(Json::parse(fault_body(fault))["error"]["message"].is_string(), "faults are whole objects");
  } catch (const qjl::Error& error) {
    require(error.kind() == qjl::ErrorKind::invalid_argument || error.kind() == qjl::ErrorKind::unsupported, "a caller's fault");
  }
  return 0;
}
