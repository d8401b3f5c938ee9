// normalizer, pre_tokenizer, decoder and post_processor: each a part with a "type", or a Sequence of such.
#include <algorithm>
#include <array>

#include "pretokenizer.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "split_expression.hpp"
#include "tokenizer_json.hpp"

namespace qjl::engine {
namespace {

using Kind = NormalStep::Kind;
using Matches = CutStage::Matches;

class PartReader {
 public:
  explicit PartReader(std::string name) : name_(std::move(name)) {}

  // The parts of a Sequence, or the one part, or none.
  std::vector<FileJson> parts(const FileJson* part, const char* list) const {
    if (part == nullptr) return {};
    if (type_of(*part) != "Sequence") return {*part};
    const FileJson* found = find_json(*part, list);
    if (found == nullptr || !found->is_array()) refuse_json(name_, "a Sequence without " + std::string(list), "a list of them");
    std::vector<FileJson> all;
    for (const FileJson& one : *found) {
      const std::vector<FileJson> inner = parts(&one, list);  // as deep as the brackets of the file, which are bounded
      all.insert(all.end(), inner.begin(), inner.end());
    }
    return all;
  }
  std::string type_of(const FileJson& part) const { return json_text_or_empty(part, "type", name_); }
  std::string text(const FileJson& part, const char* key) const { return json_text_or_empty(part, key, name_); }
  bool boolean_or(const FileJson& part, const char* key, bool absent) const { return json_boolean_or(part, key, absent, name_); }
  const std::string& name() const { return name_; }
  [[noreturn]] void refuse(const std::string& found, const std::string& wanted) const {
    throw Error(ErrorKind::unsupported, "[" + name_ + "] found " + found + ", wanted " + wanted);
  }

 private:
  std::string name_;
};

class RuleReader {
 public:
  explicit RuleReader(const std::string& name) : reader_(name) {}

  HfTextRules read(const FileJson& file) {
    for (const FileJson& part : reader_.parts(find_json(file, "normalizer"), "normalizers")) read_normalizer(part);
    for (const FileJson& part : reader_.parts(find_json(file, "pre_tokenizer"), "pretokenizers")) read_cut(part);
    check_decoder(file);
    return std::move(out_);
  }

 private:
  void read_normalizer(const FileJson& part);
  void read_cut(const FileJson& part);
  void read_split(const FileJson& part);
  void read_metaspace(const FileJson& part);
  void read_byte_level(const FileJson& part);
  // A pattern {"String": ...} or {"Regex": ...} as an expression.
  std::string expression(const FileJson& part) const;
  void check_decoder(const FileJson& file) const;

  PartReader reader_;
  HfTextRules out_;
};

void RuleReader::read_normalizer(const FileJson& part) {
  std::vector<NormalStep>& steps = out_.rules.normal;
  const std::string type = reader_.type_of(part);
  if (type == "NFC") {
    steps.push_back({Kind::nfc});
  } else if (type == "Prepend") {
    steps.push_back({Kind::prepend, "", reader_.text(part, "prepend")});
  } else if (type == "Replace") {
    const FileJson* pattern = find_json(part, "pattern");
    const std::string from = pattern == nullptr ? "" : reader_.text(*pattern, "String");
    if (from.empty()) reader_.refuse("a normalizer Replace without the pattern of a String", "one");
    steps.push_back({Kind::replace, from, reader_.text(part, "content")});
  } else {
    reader_.refuse("normalizer " + printable(type), "NFC, Prepend, Replace or a Sequence of them");
  }
  if (steps.size() > 64) reader_.refuse("more than 64 normalizers", "fewer");
}

std::string RuleReader::expression(const FileJson& part) const {
  const FileJson* pattern = find_json(part, "pattern");
  if (pattern == nullptr || !pattern->is_object()) refuse_json(reader_.name(), "a Split without a pattern", "a String or a Regex");
  const std::string literal = reader_.text(*pattern, "String");
  if (!literal.empty()) return quoted_expression(literal);
  const std::string regex = reader_.text(*pattern, "Regex");
  if (regex.empty()) refuse_json(reader_.name(), "a Split with an empty pattern", "a String or a Regex");
  return pcre_expression(regex);
}

void RuleReader::read_split(const FileJson& part) {
  constexpr std::array<std::pair<std::string_view, Matches>, 5> kBehaviours = {{{"Isolated", Matches::apart},
                                                                                {"Removed", Matches::dropped},
                                                                                {"MergedWithPrevious", Matches::with_previous},
                                                                                {"MergedWithNext", Matches::with_next},
                                                                                {"Contiguous", Matches::joined}}};
  const std::string behaviour = reader_.text(part, "behavior");
  const auto* found = std::ranges::find(kBehaviours, behaviour, &std::pair<std::string_view, Matches>::first);
  if (found == kBehaviours.end()) reader_.refuse("a Split of behaviour " + printable(behaviour), "Isolated or one of its kind");
  Matches matches = found->second;
  if (reader_.boolean_or(part, "invert", false)) {
    // What lies between the matches is then what is looked for.
    if (matches != Matches::dropped && matches != Matches::apart)
      reader_.refuse("an inverted Split of behaviour " + behaviour, "Isolated or Removed");
    if (matches == Matches::dropped) matches = Matches::alone;
  }
  out_.rules.cuts.push_back({expression(part), matches});
}

// Spaces become the replacement, which also stands before a text; then each piece begins with one.
void RuleReader::read_metaspace(const FileJson& part) {
  if (!out_.rules.cuts.empty()) reader_.refuse("a Metaspace after another pre-tokenizer", "it first");
  const std::string replacement = reader_.text(part, "replacement");
  if (replacement.empty()) refuse_json(reader_.name(), "a Metaspace without a replacement", "a character");
  out_.rules.prepared.push_back({Kind::replace, " ", replacement});
  std::string scheme = reader_.text(part, "prepend_scheme");
  if (scheme.empty()) scheme = reader_.boolean_or(part, "add_prefix_space", true) ? "always" : "never";
  if (scheme == "first") {
    out_.rules.prepared.push_back({Kind::prepend_at_start, "", replacement});
  } else if (scheme == "always") {
    out_.rules.prepared.push_back({Kind::prepend_if_other, "", replacement});
  } else if (scheme != "never") {
    reader_.refuse("a Metaspace of prepend_scheme " + printable(scheme), "first, always or never");
  }
  if (reader_.boolean_or(part, "split", true)) out_.rules.cuts.push_back({quoted_expression(replacement), Matches::with_next});
}

void RuleReader::read_byte_level(const FileJson& part) {
  if (reader_.boolean_or(part, "add_prefix_space", true)) reader_.refuse("a ByteLevel with add_prefix_space", "it false");
  if (reader_.boolean_or(part, "use_regex", true)) out_.rules.cuts.push_back(gpt2_stage());
  out_.by_bytes = true;
}

void RuleReader::read_cut(const FileJson& part) {
  const std::string type = reader_.type_of(part);
  if (out_.by_bytes) reader_.refuse("pre-tokenizer " + printable(type) + " after ByteLevel", "ByteLevel last");
  if (out_.rules.cuts.size() >= 16) reader_.refuse("more than 16 pre-tokenizers", "fewer");
  if (type == "Split") {
    read_split(part);
  } else if (type == "Digits") {
    const bool one_by_one = reader_.boolean_or(part, "individual_digits", false);
    out_.rules.cuts.push_back({"\\p{N}", one_by_one ? Matches::apart : Matches::joined});
  } else if (type == "Metaspace") {
    read_metaspace(part);
  } else if (type == "ByteLevel") {
    read_byte_level(part);
  } else {
    reader_.refuse("pre-tokenizer " + printable(type), "Split, Digits, Metaspace, ByteLevel or a Sequence of them");
  }
}

// Pieces are decoded by the model's kind: the file must not ask for another way.
void RuleReader::check_decoder(const FileJson& file) const {
  for (const FileJson& part : reader_.parts(find_json(file, "decoder"), "decoders")) {
    const std::string type = reader_.type_of(part);
    const bool is_known = type == "ByteLevel" || (!out_.by_bytes && (type == "Replace" || type == "ByteFallback" ||
                                                                     type == "Fuse" || type == "Strip" || type == "Metaspace"));
    if (!is_known) reader_.refuse("decoder " + printable(type), "ByteLevel, or Replace, ByteFallback, Fuse, Strip and Metaspace");
  }
}

Token template_token(const FileJson& part, const FileJson& item, const PartReader& reader) {
  const FileJson *special = find_json(item, "SpecialToken"), *known = find_json(part, "special_tokens");
  const std::string id = special == nullptr ? "" : reader.text(*special, "id");
  const FileJson* entry = id.empty() || known == nullptr ? nullptr : find_json(*known, id);
  const FileJson* ids = entry == nullptr ? nullptr : find_json(*entry, "ids");
  if (ids == nullptr || !ids->is_array() || ids->size() != 1 || !(*ids)[0].is_number_unsigned() ||
      (*ids)[0].get<std::uint64_t>() >> 31 != 0)
    refuse_json(reader.name(), "a template with token " + printable(id), "one that special_tokens has one id for");
  return static_cast<Token>((*ids)[0].get<std::uint64_t>());
}

}  // namespace

HfTextRules read_text_rules(const FileJson& file, const std::string& name) { return RuleReader(name).read(file); }

HfTemplate read_template(const FileJson& file, const std::string& name) {
  const PartReader reader(name);
  HfTemplate out;
  for (const FileJson& part : reader.parts(find_json(file, "post_processor"), "processors")) {
    const std::string type = reader.type_of(part);
    if (type == "ByteLevel") continue;  // about offsets alone
    const FileJson* single = find_json(part, "single");
    if (type != "TemplateProcessing" || single == nullptr || !single->is_array())
      reader.refuse("post_processor " + printable(type), "TemplateProcessing or ByteLevel");
    out.is_there = true;
    bool after_text = false;
    for (const FileJson& item : *single) {
      if (find_json(item, "Sequence") != nullptr) {
        after_text = true;
        continue;
      }
      Token& place = after_text ? out.after : out.before;
      if (place >= 0) reader.refuse("a template with several tokens on one side of the text", "one at most");
      place = template_token(part, item, reader);
    }
  }
  return out;
}

}  // namespace qjl::engine
