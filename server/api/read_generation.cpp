// The fields that both generating endpoints know, with their ranges; those that are refused; those that mean nothing here.
#include <limits>
#include <random>

#include "generation.hpp"
#include "qjl/codec.hpp"

namespace qjl::server {
namespace {

constexpr std::int64_t kManyTokens = std::int64_t{1} << 30;
constexpr std::size_t kMostStops = 16, kMostSalt = 256;

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32U) | device();
}

void read_sampling(const ServedModel& model, Fields& fields, engine::SamplingConfig& sampling) {
  sampling = model.config().sampling;
  const auto set = [&](float& target, const char* name, double low, double high) {
    if (const auto value = fields.number(name, low, high)) target = static_cast<float>(*value);
  };
  set(sampling.temperature, "temperature", 0, 2);
  set(sampling.top_p, "top_p", 0, 1);
  set(sampling.min_p, "min_p", 0, 1);
  set(sampling.repeat_penalty, "repeat_penalty", 0.01, 100);
  set(sampling.repeat_penalty, "repetition_penalty", 0.01, 100);
  set(sampling.frequency_penalty, "frequency_penalty", -2, 2);
  set(sampling.presence_penalty, "presence_penalty", -2, 2);
  if (const auto k = fields.whole("top_k", -1, kManyTokens)) sampling.top_k = static_cast<int>(std::max<std::int64_t>(*k, 0));
  const auto seed = fields.whole("seed", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
  if (seed) {
    sampling.seed = static_cast<std::uint64_t>(*seed);
  } else if (!model.config().has_seed) {
    sampling.seed = random_seed();
  }
}

// {"id": bias}: names of JSON are texts, so the ids are.
void read_bias(const ServedModel& model, Fields& fields, engine::SamplingConfig& sampling) {
  const Json* bias = fields.find("logit_bias");
  if (bias == nullptr) return;
  const std::string wanted = "an object of token ids and numbers from -100 to 100";
  if (!bias->is_object()) refuse_field("logit_bias", describe(*bias), wanted);
  for (const auto& [key, value] : bias->items()) {
    const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || std::stoll(key) >= model.tokenizer().vocab_size()) {
      refuse_field("logit_bias", "the key " + describe(Json(key)), wanted);
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      refuse_field("logit_bias", describe(value), wanted);
    }
    sampling.logit_bias.emplace_back(static_cast<engine::Token>(std::stoll(key)), value.get<float>());
  }
}

void read_stream(Fields& fields, Generation& generation) {
  generation.streams = fields.flag("stream").value_or(false);
  if (auto options = fields.object("stream_options")) {
    if (!generation.streams) refuse_field("stream_options", "an object without stream", "`stream`: true beside it");
    generation.includes_usage = options->flag("include_usage").value_or(false);
    options->accept({"include_obfuscation", "continuous_usage_stats"});
    for (const auto& name : options->unknown()) generation.ignored.push_back(name);
  }
}

void read_cache(const ServedModel& model, Fields& fields, Generation& generation) {
  generation.request.reads_prefixes = fields.flag("cache_prompt").value_or(true);
  generation.request.salt = fields.text("cache_salt", kMostSalt).value_or("");
  if (auto own = fields.object("qjl")) {
    if (const auto chunk = own->whole("chunk", kTokensPerPage, model.config().most_chunk)) {
      if (*chunk % kTokensPerPage != 0)
        refuse_field("qjl.chunk", "the number " + std::to_string(*chunk), "a multiple of " + std::to_string(kTokensPerPage));
      generation.request.chunk = *chunk;
    }
    for (const auto& name : own->unknown()) generation.ignored.push_back(name);
  }
}

}  // namespace

Generation read_generation(const ServedModel& model, Fields& fields) {
  Generation generation;
  engine::Request& request = generation.request;
  request.cache_type = model.cache_type(fields);
  read_sampling(model, fields, request.sampling);
  read_bias(model, fields, request.sampling);
  request.choices = static_cast<int>(fields.whole("n", 1, engine::kMostChoices).value_or(1));
  request.ignores_end = fields.flag("ignore_eos").value_or(false);
  request.min_tokens = fields.whole("min_tokens", 0, kManyTokens).value_or(0);
  request.stop_tokens = fields.ids("stop_token_ids", model.tokenizer().vocab_size());
  generation.stops = fields.texts("stop", kMostStops);
  generation.returns_ids = fields.flag("return_token_ids").value_or(false);
  read_stream(fields, generation);
  read_cache(model, fields, generation);
  read_format(model, fields, request);
  fields.refuse({"suffix",
                 "best_of",
                 "tools",
                 "tool_choice",
                 "functions",
                 "function_call",
                 "modalities",
                 "audio",
                 "prediction",
                 "web_search_options",
                 "lora",
                 "use_beam_search",
                 "truncate_prompt_tokens",
                 "prompt_logprobs",
                 "grammar",
                 "images",
                 "image_data",
                 "multi_modal_data",
                 "guided_json",
                 "guided_regex",
                 "guided_choice",
                 "guided_grammar",
                 "json_schema",
                 "structured_outputs"});
  fields.accept({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "reasoning_effort",
                 "parallel_tool_calls", "verbosity", "type"});
  return generation;
}

}  // namespace qjl::server
