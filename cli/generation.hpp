// What `run` and `chat` share: a generator from the options, a turn with a progress bar that Ctrl-C stops, and its report.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "chat.hpp"
#include "generate.hpp"
#include "loaded_model.hpp"
#include "options.hpp"
#include "qjl/cache_file.hpp"

namespace qjl::cli {

// A generator with room for loaded.context tokens, or for as many as fit loaded.memory, its cache on `device`: a new one of that type,
// or the saved one where there is one. Usage on a sampling number out of range, a memory that is too small.
engine::Generator make_generator(LoadedModel& loaded, const engine::CacheType& cache, Device device, const GenerateOptions& options,
                                 const std::optional<CacheFile>& saved);

// One turn. `print` gets whole UTF-8 characters as they come, `print_special` special tokens as they are written.
// Errors: invalid_argument when the prompt leaves no room in the context (found and wanted); Interrupted.
engine::Turn continue_text(engine::Generator& generator, std::span<const engine::Token> prompt,
                           const std::function<void(std::string_view)>& print, const engine::SpecialCallback& print_special = {});

// The template that --chat-template names: "auto" is the model's own (ChatML, with a warning, where it has none), then the names of
// named_templates.hpp, then a file. Usage on a name that is none of these.
engine::ChatTemplate chat_template(const LoadedModel& loaded, const std::string& name);

// What --chat-template-kwargs says, with the assistant's turn opened. Usage when it is no JSON object.
engine::ChatOptions chat_options(const TemplateOptions& options);

// The fields that `run` and `chat` report alike: tokens, times, speeds, and what the cache costs.
nlohmann::ordered_json turn_json(const engine::Turn& turn);
nlohmann::ordered_json cache_json(const KvCache& cache);
void log_turn(const engine::Turn& turn, const KvCache& cache);

}  // namespace qjl::cli
