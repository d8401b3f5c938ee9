// The model as requests name it and are read against it: its names by cache type, its tokens, its template, what counts where a
// request says nothing. Nothing here runs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chat.hpp"
#include "fields.hpp"
#include "grammars.hpp"
#include "sampler.hpp"
#include "tokenizer.hpp"

namespace qjl::server {

inline constexpr std::int64_t kMostChunk = 512;  // that a request may ask for, where the server's own is no larger

struct ServedConfig {
  std::string name;                      // of the model, as clients say it
  std::vector<std::string> cache_types;  // names; the first is the default
  engine::SamplingConfig sampling = {};  // where a request says nothing
  bool has_seed = false;                 // else every request that names none draws its own
  std::int64_t most_chunk = kMostChunk;  // of a request's own: a pass holds memory for all its rows
  std::int64_t max_tokens = -1;          // the same for its length; -1: as each endpoint does
  engine::ChatJson template_variables = engine::ChatJson::object();
};

class ServedModel {
 public:
  // Tokenizer and template are the caller's and outlive it.
  ServedModel(const engine::Tokenizer& tokenizer, const engine::ChatTemplate& chat, ServedConfig config)
      : tokenizer_(tokenizer), chat_(chat), config_(std::move(config)) {}

  const engine::Tokenizer& tokenizer() const { return tokenizer_; }
  const engine::ChatTemplate& chat() const { return chat_; }
  const ServedConfig& config() const { return config_; }
  // Of answers that have a form. Any thread.
  Grammars& grammars() const { return *grammars_; }

  // Ids of models: the name for the first cache type, name@type for each further one (and, in requests, for the first).
  std::string model_id(int cache_type) const;
  // Of a request's field; absent: 0. Refused: 404 model_not_found.
  int cache_type(Fields& fields) const;

  // A prompt as text, with bos where the model wants one; special tokens written in it count, as in other servers' completions.
  std::vector<engine::Token> prompt_tokens(const std::string& text) const;

 private:
  const engine::Tokenizer& tokenizer_;
  const engine::ChatTemplate& chat_;
  const ServedConfig config_;
  const std::unique_ptr<Grammars> grammars_ = std::make_unique<Grammars>(tokenizer_);
};

}  // namespace qjl::server
