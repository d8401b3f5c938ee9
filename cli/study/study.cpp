// `qjl study NAME`: the experiments behind docs/results, one row of JSON a case.
#include "study.hpp"

#include <algorithm>
#include <filesystem>

#include "cache_list.hpp"
#include "cache_version.hpp"
#include "files.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"
#include "verbs.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kBytesPerToken = 16;  // of a text that is certainly long enough

std::string text_from(const std::string& text, const std::string& words, const std::string& name) {
  const auto at = text.find(words);
  if (at == std::string::npos) {
    throw Error(ErrorKind::bad_file, "[study] text " + name + " does not hold its first words, wanted \"" + words + "\"");
  }
  return text.substr(at);
}

// A file that begins with ./ or ../ is relative to the list, any other to the folder.
std::vector<engine::Token> read_tokens(const LoadedModel& loaded, const Json& entry, const StudyOptions& options,
                                       std::int64_t max_tokens) {
  const auto name = entry["name"].get<std::string>();
  const auto file = entry["file"].get<std::string>();
  const bool beside_list = file.starts_with("../") || file.starts_with("./");
  std::string text = read_text(
      ((beside_list ? std::filesystem::path(options.texts).parent_path() : std::filesystem::path(options.folder)) / file).string());
  if (entry.contains("from")) text = text_from(text, entry["from"].get<std::string>(), name);
  text.resize(std::min(text.size(), static_cast<std::size_t>(max_tokens) * kBytesPerToken));
  auto tokens = text_tokens(loaded.tokenizer, text);
  tokens.resize(std::min(tokens.size(), static_cast<std::size_t>(max_tokens)));
  return tokens;
}

}  // namespace

void add_study_options(CLI::App& command, StudyOptions& options) {
  add_model_options(command, options.model);
  command.remove_option(command.get_option("--ctx-size"));
  command.add_option("--cache", options.caches, "cache types, comma between them")->delimiter(',')->group("Cache");
  command.add_option("--again", options.again, "cache types that run again although their results are there")
      ->delimiter(',')
      ->group("Cache");
  command.add_option("-o,--output", options.results, "file of JSON lines; what it holds is not run again")
      ->required()
      ->group("Output");
}

void add_text_options(CLI::App& command, StudyOptions& options) {
  command.add_option("--texts", options.texts, "JSON list of texts: name, file, and words that the text begins from")
      ->required()
      ->group("Text");
  command.add_option("--folder", options.folder, "folder that the files of the list are relative to")->group("Text");
  command.add_option("--only", options.only, "names of texts (default: all of the list)")->delimiter(',')->group("Text");
}

std::vector<StudyText> study_texts(const LoadedModel& loaded, const StudyOptions& options, std::int64_t max_tokens) {
  const Json list = engine::parse_json_or_none(read_text(options.texts), options.texts);
  const auto is_entry = [](const Json& entry) {
    return entry.is_object() && entry.contains("name") && entry["name"].is_string() && entry.contains("file") &&
           entry["file"].is_string() && (!entry.contains("from") || entry["from"].is_string());
  };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_entry)) {
    throw Usage("[study] found something else in " + options.texts + ", wanted a JSON list of {name, file, from}");
  }
  std::vector<StudyText> texts;
  for (const Json& entry : list) {
    const auto name = entry["name"].get<std::string>();
    const bool wanted = options.only.empty() || std::count(options.only.begin(), options.only.end(), name) > 0;
    if (wanted) texts.push_back({name, read_tokens(loaded, entry, options, max_tokens)});
  }
  if (texts.empty()) throw Usage("[study] found no text of these names in " + options.texts);
  return texts;
}

StudyCaches::StudyCaches(LoadedModel& loaded, const StudyOptions& options)
    : loaded_(loaded), names_(cache_list(options.caches)), again_(cache_list(options.again)) {
  for (const auto& name : names_) {
    auto trial = make(name, 2 * kTokensPerPage);
    versions_[name] = engine::cache_version(trial, loaded.threads);
  }
}

engine::TrialCache StudyCaches::make(const std::string& name, std::int64_t context, int num_sequences) const {
  const auto& model = loaded_.model;
  return engine::TrialCache(name, model.config(), model.cache_config(codec_config("f16"), context, num_sequences));
}

bool StudyCaches::is_missing(const std::string& name, const Json* row) const {
  if (row == nullptr || row->value("version", "") != version(name)) return true;
  return std::count(again_.begin(), again_.end(), name) > 0;
}

std::string model_name(const LoadedModel& loaded) { return std::filesystem::path(loaded.model.config().name).filename().string(); }

Verb add_study(CLI::App& program) {
  auto* command = program.add_subcommand("study", "the experiments behind the published results");
  command->require_subcommand(1);
  const std::vector<Verb> studies = {add_study_rate(*command), add_study_retrieval(*command), add_study_distortion(*command),
                                     add_study_sensitivity(*command)};
  return {command, [studies] {
            const auto is_chosen = [](const Verb& verb) { return verb.command->parsed(); };
            return std::find_if(studies.begin(), studies.end(), is_chosen)->run();
          }};
}

}  // namespace qjl::cli
