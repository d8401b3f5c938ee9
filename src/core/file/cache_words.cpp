// Words to a CacheConfig and back. Numbers are written so that they read back the same: doubles by their shortest digits.
#include "cache_words.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "cache_state.hpp"
#include "codec_tables.hpp"
#include "header_text.hpp"

namespace qjl {
namespace {

constexpr const char* kFormat = "qjl-kv";
constexpr const char* kSave = "save_cache";
using Words = std::map<std::string, std::string>;

template <typename Number>
std::string number_text(Number number) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), number).ptr};
}

template <typename Items, typename Text>
std::string list_text(const Items& items, char between, const Text& text_of) {
  std::string text;
  bool is_first = true;
  for (const auto& item : items) {
    if (!std::exchange(is_first, false)) text += between;
    text += text_of(item);
  }
  return text;
}
template <typename Number>
std::string list_text(const std::vector<Number>& numbers) {
  return list_text(numbers, ',', [](Number number) { return number_text(number); });
}

std::vector<std::string> parted(const std::string& text, char between) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(between, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

const char* pairs_name(KeyRope::Pairs pairs) {
  switch (pairs) {
    case KeyRope::Pairs::halves: return "halves";
    case KeyRope::Pairs::interleaved: return "interleaved";
  }
  return "unknown";
}

const char* tail_name(DType dtype) { return dtype == DType::bf16 ? "bf16" : "f16"; }

std::string codes_name(Code key, Code value) {
  CodecConfig codec;
  codec.key_code = key, codec.value_code = value;
  const std::string name = cache_type_name(codec);
  return name.substr(0, name.find(':'));
}

// The codec's RoPE first, then others of layers; equal ones once.
void write_ropes(const CacheConfig& config, Words& words) {
  std::vector<KeyRope> distinct{config.codec.rope};
  std::vector<std::int64_t> of_layer;
  for (const KeyRope& rope : config.layer_ropes) {
    const auto known = std::ranges::find(distinct, rope);
    of_layer.push_back(known - distinct.begin());
    if (known == distinct.end()) distinct.push_back(rope);
  }
  for (const KeyRope& rope : distinct) {
    require(rope.pairs == distinct.front().pairs, kSave, "layers turn ", pairs_name(distinct.front().pairs), " and ",
            pairs_name(rope.pairs), ", wanted the same pairs in all");
  }
  words["rope_pairs"] = pairs_name(distinct.front().pairs);
  words["rope_frequencies"] = list_text(distinct, ';', [](const KeyRope& rope) { return list_text(rope.frequency); });
  if (!of_layer.empty()) words["layer_ropes"] = list_text(of_layer);
}

// Reads words; errors name them.
class Reader {
 public:
  explicit Reader(const Words& words) : words_(words) {}

  const std::string* find(const std::string& name) const {
    const auto found = words_.find(name);
    return found == words_.end() ? nullptr : &found->second;
  }
  const std::string& text(const std::string& name) const {
    if (const std::string* found = find(name)) return *found;
    refuse_file("found no ", name, " in the metadata, wanted one");
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& wanted) const {
    constexpr std::size_t kShown = 60;
    const std::string& found = text(name);
    refuse_file(name, " is ", quoted(found.substr(0, kShown)), found.size() > kShown ? "..." : "", ", wanted ", wanted);
  }
  template <typename Number>
  Number parse(const std::string& name, const std::string& text, const std::string& wanted) const {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) refuse(name, wanted);
    return number;
  }
  std::int64_t number(const std::string& name, std::int64_t least, std::int64_t most) const {
    const std::string wanted = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
    const auto found = parse<std::int64_t>(name, text(name), wanted);
    if (found < least || found > most) refuse(name, wanted);
    return found;
  }
  std::vector<std::int64_t> numbers(const std::string& name, std::int64_t most) const {
    std::vector<std::int64_t> out;
    const std::string wanted = "whole numbers from 0 to " + std::to_string(most) + ", parted by commas";
    if (text(name).empty()) return out;
    for (const std::string& part : parted(text(name), ',')) {
      out.push_back(parse<std::int64_t>(name, part, wanted));
      if (out.back() < 0 || out.back() > most) refuse(name, wanted);
    }
    return out;
  }

 private:
  const Words& words_;
};

int file_version(bool has_retention, bool has_recurrent) {
  return has_recurrent ? kRecurrentVersion : has_retention ? kForgettingVersion : kCacheFileVersion;
}

void check_kind(const Reader& words) {
  if (words.find("format") == nullptr) refuse_file("found no format in the metadata, wanted \"", kFormat, "\": no saved cache");
  if (words.text("format") != kFormat) words.refuse("format", quoted(kFormat));
  const int version = file_version(words.find("layer_retention") != nullptr, words.find("recurrent_numbers") != nullptr);
  if (words.text("format_version") != std::to_string(version)) {
    words.refuse("format_version", quoted(std::to_string(version)) + ", which this library reads");
  }
  if (words.text("page_format") != std::to_string(layout::kFormatVersion)) {
    words.refuse("page_format", quoted(std::to_string(layout::kFormatVersion)) + ", which this library reads");
  }
}

void check_names(const Words& words) {
  for (const auto& [name, text] : words) {
    const auto is_it = [&name](const CacheWord& word) { return word.name == name; };
    if (!name.starts_with(kNotePrefix) && std::ranges::none_of(kCacheWords, is_it)) {
      refuse_file("found the word ", quoted(name), " in the metadata, wanted one of docs/cache_file.md");
    }
  }
}

void read_codes(const Reader& words, CacheConfig& config) {
  config.codec = codec_config(words.text("cache"));
  if (words.text("seed") != std::to_string(config.codec.seed))
    words.refuse("seed", std::to_string(config.codec.seed) + " as in cache");
  if (words.find("layer_codes") == nullptr) return;
  for (const std::string& type : parted(words.text("layer_codes"), ',')) {
    const CodecConfig codec = codec_config(type);
    config.layer_codes.emplace_back(codec.key_code, codec.value_code);
  }
}

void read_ropes(const Reader& words, CacheConfig& config) {
  const std::string& pairs = words.text("rope_pairs");
  const bool is_interleaved = pairs == pairs_name(KeyRope::Pairs::interleaved);
  if (!is_interleaved && pairs != pairs_name(KeyRope::Pairs::halves)) words.refuse("rope_pairs", "halves or interleaved");
  std::vector<KeyRope> ropes;
  for (const std::string& list : parted(words.text("rope_frequencies"), ';')) {
    KeyRope& rope = ropes.emplace_back();
    rope.pairs = is_interleaved ? KeyRope::Pairs::interleaved : KeyRope::Pairs::halves;
    if (list.empty()) continue;
    for (const std::string& part : parted(list, ',')) {
      rope.frequency.push_back(words.parse<double>("rope_frequencies", part, "numbers parted by commas"));
    }
  }
  config.codec.rope = ropes.front();
  if (words.find("layer_ropes") == nullptr) return;
  for (const std::int64_t i : words.numbers("layer_ropes", std::ssize(ropes) - 1)) {
    config.layer_ropes.push_back(ropes[static_cast<std::size_t>(i)]);
  }
}

void read_lengths(const Reader& words, CacheContents& contents) {
  constexpr std::int64_t kMostTokens = std::int64_t{std::numeric_limits<std::int32_t>::max()} * layout::kPageTokens;
  contents.num_tokens = words.numbers("num_tokens", kMostTokens);
  contents.num_token_ids = words.numbers("num_token_ids", kMostTokens);
  if (contents.num_tokens.empty()) words.refuse("num_tokens", "those of one sequence at least");
  if (contents.num_token_ids.size() != contents.num_tokens.size()) {
    words.refuse("num_token_ids", std::to_string(contents.num_tokens.size()) + " numbers as num_tokens");
  }
  for (std::size_t i = 0; i < contents.num_tokens.size(); ++i) {
    const std::int64_t ids = contents.num_token_ids[i];
    if (ids != 0 && ids < contents.num_tokens[i]) words.refuse("num_token_ids", "0 or at least num_tokens");
  }
  contents.num_pages = words.numbers("num_pages", std::numeric_limits<std::int32_t>::max());
  const auto groups = static_cast<std::size_t>(LayerGroups(contents.config).count());
  if (contents.num_pages.size() != groups)
    words.refuse("num_pages", std::to_string(groups) + (groups == 1 ? " number" : " numbers"));
  contents.config.max_pages = std::max<std::int64_t>(std::ranges::max(contents.num_pages), 1);
}

void read_shape(const Reader& words, CacheConfig& config) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();  // check_cache_config() knows better
  config.num_layers = static_cast<int>(words.number("num_layers", 1, kMost));
  config.num_kv_heads = static_cast<int>(words.number("num_kv_heads", 1, kMost));
  config.head_dim = static_cast<int>(words.number("head_dim", 1, kMost));
  const std::string& tail = words.text("tail_type");
  config.tail_dtype = tail == tail_name(DType::bf16) ? DType::bf16 : DType::f16;
  if (tail != tail_name(config.tail_dtype)) words.refuse("tail_type", "f16 or bf16");
  constexpr std::int64_t kMostWindow = std::numeric_limits<std::int64_t>::max();  // a cache takes all
  if (words.find("layer_windows") != nullptr) config.layer_windows = words.numbers("layer_windows", kMostWindow);
  if (words.find("layer_retention") != nullptr) config.layer_retention = words.numbers("layer_retention", kMostRetention);
  if (words.find("recurrent_numbers") != nullptr)
    config.recurrent_numbers = words.number("recurrent_numbers", 1, std::numeric_limits<std::int64_t>::max());
  check_layers_config(config);
}

}  // namespace

std::int64_t CacheContents::sealed_pages(std::size_t sequence) const { return num_tokens[sequence] / layout::kPageTokens; }
std::int64_t CacheContents::open_tokens(std::size_t sequence) const { return num_tokens[sequence] % layout::kPageTokens; }
std::int64_t CacheContents::sink_tokens(std::size_t sequence) const {
  return sealed_pages(sequence) > 0 ? config.codec.sink_tokens : 0;
}

Words words_of(const CacheContents& contents) {
  const CacheConfig& config = contents.config;
  Words words{{"format", kFormat},
              {"format_version", std::to_string(file_version(!config.layer_retention.empty(), config.recurrent_numbers > 0))},
              {"library", "qjl " QJL_VERSION},
              {"page_format", std::to_string(layout::kFormatVersion)},
              {"cache", cache_type_name(config.codec)},
              {"seed", std::to_string(config.codec.seed)},
              {"num_layers", std::to_string(config.num_layers)},
              {"num_kv_heads", std::to_string(config.num_kv_heads)},
              {"head_dim", std::to_string(config.head_dim)},
              {"tail_type", tail_name(config.tail_dtype)},
              {"model", contents.info.model},
              {"num_tokens", list_text(contents.num_tokens)},
              {"num_token_ids", list_text(contents.num_token_ids)},
              {"num_pages", list_text(contents.num_pages)}};
  write_ropes(config, words);
  const auto codes = [](const std::pair<Code, Code>& pair) { return codes_name(pair.first, pair.second); };
  if (!config.layer_codes.empty()) words["layer_codes"] = list_text(config.layer_codes, ',', codes);
  if (!config.layer_windows.empty()) words["layer_windows"] = list_text(config.layer_windows);
  if (!config.layer_retention.empty()) words["layer_retention"] = list_text(config.layer_retention);
  if (config.recurrent_numbers > 0) words["recurrent_numbers"] = std::to_string(config.recurrent_numbers);
  if (!contents.info.layer_types.empty()) {
    for (const std::string& type : contents.info.layer_types) {
      require(!type.empty() && type.find(',') == std::string::npos, kSave, "a layer type is ", quoted(type),
              ", wanted a word without commas");
    }
    words["layer_types"] = list_text(contents.info.layer_types, ',', [](const std::string& type) { return type; });
  }
  for (const auto& [name, note] : contents.info.notes) words[std::string(kNotePrefix) + name] = note;
  return words;
}

CacheContents contents_of(const Words& all) {
  const Reader words(all);
  check_kind(words);
  check_names(all);
  CacheContents contents;
  CacheConfig& config = contents.config;
  try {
    read_codes(words, config);
    read_shape(words, config);
    read_ropes(words, config);
    read_lengths(words, contents);
    check_cache_config(config);
    for (int layer = 0; layer < config.num_layers; ++layer) {
      page_shape(config.head_dim, layer_codec(config, layer), config.tail_dtype);
    }
    check_rope(config.head_dim, config.codec.rope);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid_argument) throw;
    refuse_file("the metadata is of no cache: ", error.what());
  }
  CacheFileInfo& info = contents.info;
  info.model = words.text("model");
  if (words.find("layer_types") != nullptr) {
    info.layer_types = parted(words.text("layer_types"), ',');
    if (std::ranges::find(info.layer_types, "") != info.layer_types.end()) words.refuse("layer_types", "words parted by commas");
  }
  for (const auto& [name, text] : all) {
    if (name.starts_with(kNotePrefix)) info.notes[name.substr(kNotePrefix.size())] = text;
  }
  return contents;
}

}  // namespace qjl
