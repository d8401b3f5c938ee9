// parse_tokenizer_json. The vocabulary is {"text": id, ...}; merges are ["left right", ...] or [["left", "right"], ...].
#include "tokenizer_json.hpp"

#include <algorithm>
#include <utility>

#include "printable.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"
#include "spm.hpp"
#include "vocabulary.hpp"

namespace qjl::engine {
namespace {

using Type = TokenizerData::Type;

class TokenizerReader {
 public:
  explicit TokenizerReader(const std::string& name) : name_(name) {}

  TokenizerData read(std::string_view text);

 private:
  [[noreturn]] void refuse(const std::string& found, const std::string& wanted) const {
    throw Error(ErrorKind::unsupported, "[" + name_ + "] found " + found + ", wanted " + wanted);
  }
  void check_model(const FileJson& model) const;
  void read_vocab(const FileJson& model, bool falls_back);
  void read_merges(const FileJson& model);
  void place(Token id, std::string text, Type type);
  void read_added(const FileJson& file);
  void add_token(const FileJson& entry);
  Token token_of(const std::string& text) const;

  const std::string& name_;
  TokenizerData data_;
  std::size_t placed_ = 0;  // tokens of the file
};

void TokenizerReader::check_model(const FileJson& model) const {
  // Older files do not name the type; a BPE is the one kind that has merges.
  const std::string type = json_text_or_empty(model, "type", name_);
  if (!type.empty() && type != "BPE") refuse("a model of type " + printable(type), "BPE");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (const std::string text = json_text_or_empty(model, key, name_); !text.empty())
      refuse(key + (" " + printable(text)), "none");
  }
  const FileJson* dropout = find_json(model, "dropout");
  if (dropout != nullptr && *dropout != 0.0) refuse("dropout " + json_text(*dropout), "none");
}

// Whether a value is a token's id.
bool is_id(const FileJson* value) {
  return value != nullptr && value->is_number_unsigned() && value->get<std::uint64_t>() >> 31 == 0;
}

void TokenizerReader::read_vocab(const FileJson& model, bool falls_back) {
  const FileJson* vocab = find_json(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) refuse_json(name_, "a model without vocab", "tokens and their ids");
  std::vector<std::pair<Token, const std::string*>> tokens;
  tokens.reserve(vocab->size());
  for (auto entry = vocab->begin(); entry != vocab->end(); ++entry) {
    if (!is_id(&*entry)) refuse_json(name_, "token " + printable(entry.key()) + " with " + json_text(*entry), "its id, below 2^31");
    tokens.emplace_back(static_cast<Token>(entry->get<std::uint64_t>()), &entry.key());
  }
  std::ranges::sort(tokens, {}, &std::pair<Token, const std::string*>::first);
  for (const auto& [id, text] : tokens) place(id, *text, falls_back && spm_byte(*text) >= 0 ? Type::byte : Type::normal);
}

void TokenizerReader::read_merges(const FileJson& model) {
  const FileJson* merges = find_json(model, "merges");
  if (merges == nullptr || !merges->is_array()) refuse_json(name_, "a model without merges", "a list of them");
  data_.merges.reserve(merges->size());
  for (const FileJson& merge : *merges) {
    if (merge.is_string()) {
      data_.merges.push_back(merge.get_ref<const std::string&>());
      continue;
    }
    if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
      refuse_json(name_, "a merge that is neither a text nor two", "\"left right\" or [\"left\", \"right\"]");
    const auto &left = merge[0].get_ref<const std::string&>(), &right = merge[1].get_ref<const std::string&>();
    if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos)
      refuse("a merge with a space in " + printable(left) + " or " + printable(right), "texts whose spaces have another sign");
    data_.merges.push_back(left + ' ' + right);
  }
}

// Ids are dense but for a few; the table is never much larger than what the file holds. What was placed bounds the next id, not how far
// the table reaches: gaps would add up.
void TokenizerReader::place(Token id, std::string text, Type type) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= data_.tokens.size()) {
    constexpr std::size_t kGap = 65536;
    if (index > 2 * placed_ + kGap) {
      refuse_json(name_, "token " + printable(text) + " with id " + std::to_string(id) + " beside " + std::to_string(placed_),
                  "ids without such a gap");
    }
    data_.tokens.resize(index + 1);
    data_.types.resize(index + 1, Type::unused);
  }
  if (!data_.tokens[index].empty() && data_.tokens[index] != text) {
    refuse_json(name_, "tokens " + printable(data_.tokens[index]) + " and " + printable(text) + " with id " + std::to_string(id),
                "one");
  }
  data_.tokens[index] = std::move(text);
  data_.types[index] = type;
  ++placed_;
}

void TokenizerReader::add_token(const FileJson& entry) {
  const FileJson* id = find_json(entry, "id");
  const std::string text = json_text_or_empty(entry, "content", name_);
  if (!is_id(id) || text.empty()) refuse_json(name_, "an added token without id or content", "both");
  const auto flag = [&](const char* key) { return json_boolean_or(entry, key, false, name_); };
  if (flag("single_word")) refuse("added token " + printable(text) + " with single_word", "it false");
  const auto token = static_cast<Token>(id->get<std::uint64_t>());
  const bool is_special = flag("special"), is_normal = flag("normalized");
  place(token, text, is_special ? Type::control : Type::user_defined);
  if (is_special && is_normal && to_normal_form(data_.rules->normal, text, false) != text) {
    data_.warnings.push_back("token " + printable(text) + " is looked for as it is written, not in the text's normal form");
  }
  const TokenizerData::Added added{token, flag("lstrip"), flag("rstrip"), is_normal && !is_special};
  if (added.strips_left || added.strips_right || added.is_normal) data_.added.push_back(added);
}

void TokenizerReader::read_added(const FileJson& file) {
  const FileJson* added = find_json(file, "added_tokens");
  if (added == nullptr) return;
  if (!added->is_array()) refuse_json(name_, "added_tokens " + json_text(*added), "a list");
  for (const FileJson& entry : *added) add_token(entry);
  std::ranges::sort(data_.added, {}, &TokenizerData::Added::token);
  const auto same = std::ranges::adjacent_find(data_.added, {}, &TokenizerData::Added::token);
  if (same != data_.added.end()) refuse_json(name_, "added token " + std::to_string(same->token) + " twice", "once");
}

Token TokenizerReader::token_of(const std::string& text) const {
  const auto at = std::ranges::find(data_.tokens, text);
  return text.empty() || at == data_.tokens.end() ? -1 : static_cast<Token>(at - data_.tokens.begin());
}

TokenizerData TokenizerReader::read(std::string_view text) {
  const FileJson file = parse_json_object(text, name_);
  const FileJson* found = find_json(file, "model");
  if (found == nullptr) refuse_json(name_, "no model", "one of type BPE");
  const FileJson& model = *found;
  check_model(model);
  HfTextRules read = read_text_rules(file, name_);
  data_.rules = std::move(read.rules);
  data_.model = read.by_bytes ? TokenizerData::Model::bpe : TokenizerData::Model::characters;
  const bool falls_back = json_boolean_or(model, "byte_fallback", false, name_);
  if (falls_back && read.by_bytes) refuse("byte_fallback beside ByteLevel", "one of them");
  data_.rules->ignore_merges = json_boolean_or(model, "ignore_merges", false, name_);
  data_.rules->fuses_unknown = json_boolean_or(model, "fuse_unk", false, name_);
  read_vocab(model, falls_back);
  read_merges(model);
  read_added(file);
  if (data_.tokens.empty()) refuse_json(name_, "no tokens", "a vocabulary");
  data_.unk = data_.rules->unknown = token_of(json_text_or_empty(model, "unk_token", name_));
  if (data_.unk >= 0) data_.types[static_cast<std::size_t>(data_.unk)] = Type::unknown;
  const HfTemplate around = read_template(file, name_);
  data_.bos = around.before;
  data_.eos = around.after;
  data_.add_bos = around.before >= 0;
  data_.add_eos = around.after >= 0;
  check_tokenizer_data(data_);
  return std::move(data_);
}

}  // namespace

TokenizerData parse_tokenizer_json(std::string_view text, const std::string& name) { return TokenizerReader(name).read(text); }

}  // namespace qjl::engine
