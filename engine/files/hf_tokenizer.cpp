// read_hf_tokenizer: later files win over earlier ones, as transformers has it.
#include "hf_tokenizer.hpp"

#include <algorithm>
#include <unordered_map>

#include "mapped_file.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"
#include "tokenizer_json.hpp"
#include "vocabulary.hpp"

namespace qjl::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "tokenizer_config.json";

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

class FileJoiner {
 public:
  FileJoiner(const HfTokenizerFiles& files, TokenizerData& data) : files_(files), data_(data), vocabulary_(make_vocabulary(data)) {}

  void join(const HfTokenizerContext& context);

 private:
  Token named_token(const char* key) const;
  void set_named(const char* key, Token& token) const;
  void read_added_ends();
  void add_end(std::int64_t id, const char* file);
  void read_generation(const HfTokenizerContext& context);
  void read_chat_template();

  const HfTokenizerFiles& files_;
  TokenizerData& data_;
  const Vocabulary vocabulary_;
};

// A token by its text, which stands plainly or as {"content": ...}; -1 when no file names one, or names none of the vocabulary.
Token FileJoiner::named_token(const char* key) const {
  for (const FileJson* file : {&files_.tokenizer_config, &files_.special_tokens_map}) {
    const FileJson* found = find_json(*file, key);
    if (found == nullptr) continue;
    const FileJson* content = found->is_object() ? find_json(*found, "content") : found;
    if (content == nullptr || !content->is_string())
      refuse_json(kConfig, std::string(key) + " " + json_text(*found), "a token's text");
    const Token token = find_token(vocabulary_, content->get_ref<const std::string&>());
    if (token < 0) {
      data_.warnings.push_back(std::string(kConfig) + ": " + key + " is " + printable(content->get_ref<const std::string&>()) +
                               ", which is no token: left out");
    }
    return token;
  }
  return -1;
}

void FileJoiner::set_named(const char* key, Token& token) const {
  if (const Token named = named_token(key); named >= 0) token = named;
}

// The template of tokenizer.json puts tokens around a text; tokenizer_config.json, where it says, overrules whether.
void FileJoiner::read_added_ends() {
  const Token before = data_.bos, after = data_.eos;
  set_named("bos_token", data_.bos);
  set_named("eos_token", data_.eos);
  set_named("unk_token", data_.unk);
  const auto differs = [](Token around, Token named) { return around >= 0 && around != named; };
  if (differs(before, data_.bos) || differs(after, data_.eos)) {
    throw Error(ErrorKind::unsupported, "[tokenizer.json] found a template with token " +
                                            std::to_string(differs(before, data_.bos) ? before : after) +
                                            " beside a text, wanted the bos_token before it or the eos_token after it");
  }
  data_.add_bos = json_boolean_or(files_.tokenizer_config, "add_bos_token", data_.add_bos, kConfig) && data_.bos >= 0;
  data_.add_eos = json_boolean_or(files_.tokenizer_config, "add_eos_token", data_.add_eos, kConfig) && data_.eos >= 0;
}

void FileJoiner::add_end(std::int64_t id, const char* file) {
  if (id >= 0 && id < std::ssize(data_.tokens)) {
    data_.end_of_generation.push_back(static_cast<Token>(id));
  } else {
    data_.warnings.push_back(std::string(file) + ": eos_token_id is " + std::to_string(id) + ", which is no token: left out");
  }
}

void FileJoiner::read_generation(const HfTokenizerContext& context) {
  constexpr const char* kGeneration = "generation_config.json";
  if (data_.eos >= 0) data_.end_of_generation.push_back(data_.eos);
  for (const std::int64_t id : context.ends) add_end(id, "config.json");
  const FileJson* ends = find_json(files_.generation_config, "eos_token_id");
  if (ends != nullptr) {
    for (const FileJson& id : ends->is_array() ? *ends : FileJson::array({*ends})) {
      if (!id.is_number_integer()) refuse_json(kGeneration, "eos_token_id " + json_text(id), "a token's id, or several");
      add_end(id.get<std::int64_t>(), kGeneration);
    }
  }
  if (data_.eos < 0 && !data_.end_of_generation.empty()) data_.eos = data_.end_of_generation.front();
}

// One template, or several with names, of which "default" is the one to take.
void FileJoiner::read_chat_template() {
  data_.chat_template = files_.chat_template;
  const FileJson* found = find_json(files_.tokenizer_config, "chat_template");
  if (!data_.chat_template.empty() || found == nullptr) return;
  if (found->is_string()) {
    data_.chat_template = found->get<std::string>();
    return;
  }
  for (const FileJson& one : found->is_array() ? *found : FileJson::array()) {
    if (json_text_or_empty(one, "name", kConfig) == "default") data_.chat_template = json_text_or_empty(one, "template", kConfig);
  }
  if (data_.chat_template.empty())
    refuse_json(kConfig, "chat_template " + json_text(*found), "a text, or several and one is \"default\"");
}

void FileJoiner::join(const HfTokenizerContext& context) {
  read_added_ends();
  read_generation(context);
  read_chat_template();
}

}  // namespace

void add_tokenizer_files(const HfTokenizerFiles& files, const HfTokenizerContext& context, TokenizerData& data) {
  FileJoiner(files, data).join(context);
  constexpr std::int64_t kMostVocab = std::int64_t{1} << 24;
  if (context.vocab_size > std::ssize(data.tokens) && context.vocab_size <= kMostVocab) {
    data.tokens.resize(static_cast<std::size_t>(context.vocab_size));
    data.types.resize(data.tokens.size(), TokenizerData::Type::unused);
  }
  add_ends_by_text(data);
  check_tokenizer_data(data);
}

TokenizerData read_hf_tokenizer(const fs::path& folder, const HfTokenizerContext& context) {
  const fs::path path = folder / "tokenizer.json";
  if (!fs::exists(path)) {
    throw Error(ErrorKind::io, "[open] " + folder.string() + ": found no tokenizer.json" +
                                   (fs::exists(folder / "tokenizer.model") ? " (tokenizer.model alone is not read)" : "") +
                                   ", wanted one");
  }
  TokenizerData data;
  {
    const MappedFile file(path);
    data = parse_tokenizer_json(text_of(file), path.string());
  }
  HfTokenizerFiles files;
  files.tokenizer_config = read_json_object_if_there(folder / kConfig);
  files.special_tokens_map = read_json_object_if_there(folder / "special_tokens_map.json");
  files.generation_config = read_json_object_if_there(folder / "generation_config.json");
  if (const fs::path jinja = folder / "chat_template.jinja"; fs::exists(jinja)) files.chat_template = text_of(MappedFile(jinja));
  add_tokenizer_files(files, context, data);
  return data;
}

}  // namespace qjl::engine
