// What the studies share: their common options, texts, caches and the way a row is kept.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "loaded_model.hpp"
#include "options.hpp"
#include "trial_cache.hpp"

namespace qjl::cli {

// Queries per head, of a text's last tokens, that score and output errors are means over.
inline constexpr std::int64_t kErrorQueries = 32;

struct StudyOptions {
  ModelOptions model;
  std::vector<std::string> caches;
  std::string results;             // JSON lines, taken up where they stop
  std::vector<std::string> again;  // cache types that run again although their rows are there
  std::string texts, folder;       // list of texts, and where its files are
  std::vector<std::string> only;   // names of texts
  int caches_at_once = 32;         // each holds a context
};

Verb add_study_rate(CLI::App& study);
Verb add_study_retrieval(CLI::App& study);
Verb add_study_distortion(CLI::App& study);
Verb add_study_sensitivity(CLI::App& study);

void add_study_options(CLI::App& command, StudyOptions& options);
void add_text_options(CLI::App& command, StudyOptions& options);

// A text of the list: {"name": "persuasion", "file": "books/...", "from": "words that the text begins with"}.
struct StudyText {
  std::string name;
  std::vector<engine::Token> tokens;  // at most as many as asked for
};
// Errors: Usage on a list of another form or an unknown name in --only; qjl::Error io; bad_file when a text lacks its first words.
std::vector<StudyText> study_texts(const LoadedModel& loaded, const StudyOptions& options, std::int64_t max_tokens);

// Cache types by name with the fingerprint of what they write.
class StudyCaches {
 public:
  // Usage on an unknown name.
  StudyCaches(LoadedModel& loaded, const StudyOptions& options);

  const std::vector<std::string>& names() const { return names_; }
  const std::string& version(const std::string& name) const { return versions_.at(name); }
  // Room for `context` tokens of each of num_sequences.
  engine::TrialCache make(const std::string& name, std::int64_t context, int num_sequences = 1) const;
  // Whether a row of this cache must be made (anew): null, from another version, or asked for again.
  bool is_missing(const std::string& name, const nlohmann::ordered_json* row) const;

 private:
  LoadedModel& loaded_;
  std::vector<std::string> names_, again_;
  std::map<std::string, std::string> versions_;
};

// The model's own name: part of the key of a row.
std::string model_name(const LoadedModel& loaded);

}  // namespace qjl::cli
