// Plans as files: one JSON object.
//
//   {"format": "qjl plan", "version": 1, "model": {"name", "fingerprint", "num_layers", "num_kv_heads", "head_dim"},
//    "seed", "sinks", "budget_bits", "bits_sealed", "forecast_kld", "texts": [...],
//    "layers": [{"keys": "l8", "values": "l4"}, ...]}
//
// A reader ignores keys that it does not know.
#include "plan_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "qjl/config.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::engine {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kVersion = 1;
constexpr std::string_view kFormat = "qjl plan";

Code read_code(const std::string& text) {
  std::string names;
  for (const Code code : plan_codes()) {
    if (code_name(code) == text) return code;
    names += (names.empty() ? "" : ", ") + std::string(code_name(code));
  }
  throw Error(ErrorKind::bad_file, "[plan] found code `" + text + "`, wanted one of " + names);
}

Plan from_json(const Json& json) {
  if (json.at("format") != kFormat || json.at("version") != kVersion)
    throw Error(ErrorKind::bad_file, "[plan] found format " + json.at("format").dump() + " version " + json.at("version").dump() +
                                         ", wanted \"qjl plan\" version 1");
  Plan plan;
  const Json& model = json.at("model");
  plan.model = model.at("name");
  plan.fingerprint = model.at("fingerprint");
  plan.num_kv_heads = whole_number<int>(model, "num_kv_heads");
  plan.head_dim = whole_number<int>(model, "head_dim");
  plan.seed = whole_number<std::uint64_t>(json, "seed");
  plan.sink_tokens = whole_number<int>(json, "sinks");
  plan.budget_bits = json.at("budget_bits");
  plan.bits_sealed = json.at("bits_sealed");
  plan.forecast_kld = json.at("forecast_kld");
  plan.texts = json.at("texts").get<std::vector<std::string>>();
  for (const Json& layer : json.at("layers"))
    plan.layer_codes.emplace_back(read_code(layer.at("keys")), read_code(layer.at("values")));
  if (model.at("num_layers") != plan.layer_codes.size() || plan.layer_codes.empty())
    throw Error(ErrorKind::bad_file, "[plan] found " + std::to_string(plan.layer_codes.size()) + " layers, wanted " +
                                         model.at("num_layers").dump() + " and 1 at least");
  return plan;
}

}  // namespace

std::string model_fingerprint(const Model& model) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&hash](const void* data, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3u;
  };
  for (const FileTensor& tensor : model.file().tensors()) {
    add(tensor.name.data(), tensor.name.size());
    add(&tensor.type, sizeof tensor.type);
    add(tensor.shape.data(), tensor.shape.size() * sizeof(std::int64_t));
    add(tensor.data.data(), std::min<std::size_t>(tensor.data.size(), 4096));
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[hash >> shift & 15];
  return text;
}

std::string plan_json(const Plan& plan) {
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"model",
                {{"name", plan.model},
                 {"fingerprint", plan.fingerprint},
                 {"num_layers", plan.layer_codes.size()},
                 {"num_kv_heads", plan.num_kv_heads},
                 {"head_dim", plan.head_dim}}},
               {"seed", plan.seed},
               {"sinks", plan.sink_tokens},
               {"budget_bits", plan.budget_bits},
               {"bits_sealed", plan.bits_sealed},
               {"forecast_kld", plan.forecast_kld},
               {"texts", plan.texts},
               {"layers", Json::array()}};
  for (const auto& [key, value] : plan.layer_codes)
    json["layers"].push_back({{"keys", code_name(key)}, {"values", code_name(value)}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Plan read_plan(std::string_view text, const std::string& name) {
  try {
    return from_json(parse_json(text));
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::bad_file, "[plan] `" + name + "` is no plan: " + error.what());
  }
}

}  // namespace qjl::engine
