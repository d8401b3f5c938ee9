// Names of models, prompts to tokens.
#include "served_model.hpp"

namespace qjl::server {

std::string ServedModel::model_id(int cache_type) const {
  return cache_type == 0 ? config_.name : config_.name + "@" + config_.cache_types[static_cast<std::size_t>(cache_type)];
}

int ServedModel::cache_type(Fields& fields) const {
  const auto name = fields.text("model");
  if (!name || *name == config_.name) return 0;
  const auto& types = config_.cache_types;
  std::string known;
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (*name == config_.name + "@" + types[i]) return static_cast<int>(i);
    known += (i > 0 ? ", " : "") + model_id(static_cast<int>(i));
  }
  throw Refused({.status = 404,
                 .message = "found " + describe(Json(*name)) + " as model, wanted one of " + known,
                 .param = "model",
                 .code = "model_not_found"});
}

std::vector<engine::Token> ServedModel::prompt_tokens(const std::string& text) const {
  auto tokens = tokenizer_.encode(text, engine::Tokenizer::Special::parse);
  const auto& data = tokenizer_.data();
  if (data.add_bos && data.bos >= 0 && (tokens.empty() || tokens.front() != data.bos)) tokens.insert(tokens.begin(), data.bos);
  return tokens;
}

}  // namespace qjl::server
