// A model file opened for use: weights, tokenizer and the log line that says so.
#pragma once

#include <cstdint>

#include "cache_type.hpp"
#include "model.hpp"
#include "options.hpp"
#include "qjl/threads.hpp"
#include "tokenizer.hpp"

namespace qjl::cli {

struct LoadedModel {
  engine::Model model;
  engine::Tokenizer tokenizer;
  ThreadPool threads;
  std::int64_t context;  // tokens: --ctx-size, or what the model was trained for
  std::int64_t memory;   // bytes: --memory; 0: not said

  // Says in the log what a user should know: a context above the trained one, keys of the file that are not followed.
  // Errors: as of open_model_file(), Model and Tokenizer; Usage when --ctx-size is above what any model takes.
  explicit LoadedModel(const ModelOptions& options);
};

// Ids of a raw text, bos first where the model wants one. Special tokens written in the text stay text.
std::vector<engine::Token> text_tokens(const engine::Tokenizer& tokenizer, std::string_view text);

// A plan made for another model works when the shapes agree, but knows nothing of this model: a line in the log.
void warn_of_other_model(const LoadedModel& loaded, const engine::CacheType& cache);

// What a cache costs now: megabytes (1e6 bytes) of everything.
double cache_megabytes(const KvCache& cache);

}  // namespace qjl::cli
