// parse_tokenizer_json: vocab and merges, which are nearly all of a file, go straight to their lists while it is read; the rest
// becomes values of JSON.
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
using Event = FileJson::parse_event_t;

// model.vocab: {"text": id, ...}. model.merges: ["left right", ...] or [["left", "right"], ...].
class ListReader {
 public:
  explicit ListReader(const std::string& name) : name_(name) {}

  bool operator()(int depth, Event event, FileJson& value) {
    if (depth > kJsonDepth) refuse_json(name_, "brackets deeper than " + std::to_string(kJsonDepth), "at most that many");
    if (event == Event::key) return read_key(depth, value);
    if (in_merges_) return read_merge(depth, event, value);
    if (in_vocab_ && depth >= kInner) read_id(event, value);
    return true;
  }

  std::vector<std::pair<std::string, std::int64_t>> vocab;
  std::vector<std::string> merges;

 private:
  static constexpr int kInner = 3;  // brackets around an entry of vocab or merges

  bool read_key(int depth, FileJson& key) {
    if (in_vocab_ && depth == kInner) {
      token_ = std::move(key.get_ref<std::string&>());
      return false;
    }
    if (depth == 1) in_model_ = key == "model";
    if (depth <= 2) {
      in_vocab_ = in_model_ && depth == 2 && key == "vocab";
      in_merges_ = in_model_ && depth == 2 && key == "merges";
    }
    return true;
  }

  void read_id(Event event, FileJson& value) {
    if (event != Event::value || !value.is_number_unsigned() || value.get<std::uint64_t>() >> 31 != 0)
      refuse_json(name_, "token " + printable(token_) + " without a whole number below 2^31", "its id");
    vocab.emplace_back(std::move(token_), value.get<std::int64_t>());
  }

  bool read_merge(int depth, Event event, FileJson& value) {
    if (event == Event::value && value.is_string() && (depth == kInner || depth == kInner + 1)) {
      auto& text = value.get_ref<std::string&>();
      if (depth == kInner) {
        merges.push_back(std::move(text));
      } else {
        sides_.push_back(std::move(text));
      }
      return false;
    }
    if (depth < kInner) return true;  // the list itself
    if (depth > kInner || (event != Event::array_start && event != Event::array_end))
      refuse_json(name_, "a merge that is neither a text nor two", "\"left right\" or [\"left\", \"right\"]");
    if (event == Event::array_start) {
      sides_.clear();
      return true;
    }
    add_sides();
    return false;
  }

  void add_sides() {
    if (sides_.size() != 2) refuse_json(name_, "a merge of " + std::to_string(sides_.size()) + " texts", "two");
    for (const std::string& side : sides_) {
      if (side.find(' ') != std::string::npos) {
        throw Error(ErrorKind::unsupported, "[" + name_ + "] found a merge with a space in " + printable(side) +
                                                ", wanted texts whose spaces have another sign");
      }
    }
    merges.push_back(sides_[0] + ' ' + sides_[1]);
  }

  const std::string& name_;
  bool in_model_ = false, in_vocab_ = false, in_merges_ = false;
  std::string token_;
  std::vector<std::string> sides_;
};

class TokenizerReader {
 public:
  explicit TokenizerReader(const std::string& name) : name_(name) {}

  TokenizerData read(std::string_view text);

 private:
  [[noreturn]] void refuse(const std::string& found, const std::string& wanted) const {
    throw Error(ErrorKind::unsupported, "[" + name_ + "] found " + found + ", wanted " + wanted);
  }
  FileJson parse(std::string_view text, ListReader& lists) const;
  void check_model(const FileJson& model) const;
  void place(Token id, std::string text, Type type);
  void read_added(const FileJson& file);
  void add_token(const FileJson& entry);
  Token token_of(const std::string& text) const;

  const std::string& name_;
  TokenizerData data_;
};

FileJson TokenizerReader::parse(std::string_view text, ListReader& lists) const {
  FileJson file;
  try {
    file = FileJson::parse(text.begin(), text.end(),
                           [&](int depth, Event event, FileJson& value) { return lists(depth, event, value); });
  } catch (const FileJson::parse_error& error) {
    refuse_json(name_, "no JSON at byte " + std::to_string(error.byte) + " of " + std::to_string(text.size()), "an object of JSON");
  } catch (const FileJson::exception& error) {
    refuse_json(name_, printable(error.what()), "an object of JSON");
  }
  if (find_json(file, "model") == nullptr) refuse_json(name_, "no model", "one of type BPE");
  return file;
}

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

// Ids are dense but for a few; the table is never much larger than what the file holds.
void TokenizerReader::place(Token id, std::string text, Type type) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= data_.tokens.size()) {
    constexpr std::size_t kGap = 65536;
    if (index > 2 * data_.tokens.size() + kGap) {
      refuse_json(name_,
                  "token " + printable(text) + " with id " + std::to_string(id) + " beside " + std::to_string(data_.tokens.size()),
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
}

void TokenizerReader::add_token(const FileJson& entry) {
  const FileJson* id = find_json(entry, "id");
  const std::string text = json_text_or_empty(entry, "content", name_);
  if (id == nullptr || !id->is_number_unsigned() || id->get<std::uint64_t>() >> 31 != 0 || text.empty())
    refuse_json(name_, "an added token without id or content", "both");
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
  ListReader lists(name_);
  const FileJson file = parse(text, lists);
  const FileJson& model = file.at("model");
  check_model(model);
  HfTextRules read = read_text_rules(file, name_);
  data_.rules = std::move(read.rules);
  data_.model = read.by_bytes ? TokenizerData::Model::bpe : TokenizerData::Model::characters;
  const bool falls_back = json_boolean_or(model, "byte_fallback", false, name_);
  if (falls_back && read.by_bytes) refuse("byte_fallback beside ByteLevel", "one of them");
  data_.rules->ignore_merges = json_boolean_or(model, "ignore_merges", false, name_);
  data_.rules->fuses_unknown = json_boolean_or(model, "fuse_unk", false, name_);
  std::ranges::sort(lists.vocab, {}, &std::pair<std::string, std::int64_t>::second);
  for (auto& [token, id] : lists.vocab) {
    const bool is_byte = falls_back && spm_byte(token) >= 0;
    place(static_cast<Token>(id), std::move(token), is_byte ? Type::byte : Type::normal);
  }
  data_.merges = std::move(lists.merges);
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
