// Opens a model file and its tokenizer, and says in the log what was found.
#include "loaded_model.hpp"

#include <spdlog/spdlog.h>

#include "plan_file.hpp"
#include "qjl/error.hpp"

namespace qjl::cli {

namespace {

engine::RopeOptions rope_options(const ModelOptions& options) {
  engine::RopeOptions rope = options.rope;
  rope.context = options.context;
  return rope;
}

// A file's own faults are of other kinds: an invalid argument can only be an option of RoPE.
engine::Model load(const ModelOptions& options) {
  try {
    return engine::Model::load(engine::open_model_file(options.path), rope_options(options));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::invalid_argument) throw Usage(error.what());
    throw;
  }
}

}  // namespace

LoadedModel::LoadedModel(const ModelOptions& options)
    : model(load(options)),
      tokenizer(model.file().tokenizer_data()),
      threads(options.threads),
      context(options.context > 0 ? options.context : model.config().context_length),
      memory(options.memory) {
  const auto& config = model.config();
  if (tokenizer.vocab_size() > config.vocab_size) {
    throw Error(ErrorKind::bad_file, "[open] " + options.path + ": found a tokenizer of " + std::to_string(tokenizer.vocab_size()) +
                                         " tokens, wanted at most the " + std::to_string(config.vocab_size) + " of the model");
  }
  for (const std::string& warning : config.warnings) spdlog::warn("{}: {}", options.path, warning);
  for (const std::string& warning : tokenizer.data().warnings) spdlog::warn("{}: {}", options.path, warning);
  if (context > engine::kMostContext) {
    throw Usage("[options] found --ctx-size " + std::to_string(context) + ", wanted at most " +
                std::to_string(engine::kMostContext));
  }
  if (context > config.context_length) {
    spdlog::warn("--ctx-size {} is above the {} tokens that the model was trained for: its answers may be poor beyond them",
                 context, config.context_length);
  }
  spdlog::info("{}: {}, {} layers, {} kv heads, head_dim {}, {:.0f} MB of weights, {} threads", config.name, config.family->name,
               config.num_layers, config.num_kv_heads, config.head_dim, static_cast<double>(model.weight_bytes()) / 1e6,
               threads.num_threads());
}

std::vector<engine::Token> text_tokens(const engine::Tokenizer& tokenizer, std::string_view text) {
  auto tokens = tokenizer.encode(text, engine::Tokenizer::Special::text);
  const auto& data = tokenizer.data();
  if (data.add_bos && data.bos >= 0) tokens.insert(tokens.begin(), data.bos);
  return tokens;
}

void warn_of_other_model(const LoadedModel& loaded, const engine::CacheType& cache) {
  if (!cache.fingerprint.empty() && cache.fingerprint != engine::model_fingerprint(loaded.model))
    spdlog::warn("the plan {} was made for another model: its codes are not chosen for this one", cache.name);
}

double cache_megabytes(const KvCache& cache) { return static_cast<double>(cache.memory_report().total()) / 1e6; }

}  // namespace qjl::cli
