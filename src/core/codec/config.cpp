// Names of codes and cache types, both ways. The names and digits of codes are those of their traits (codes.hpp).
//
//   k1 .. k6 = s1 s2 l8 l16 l32 l64      v1 .. v6 = s1 l4 l8 l16 l32 l64      paper = jl keys, minmax values, no sinks
//   TYPE:option=value,option=value  sets what differs from the type's defaults
#include "qjl/config.hpp"

#include <charconv>
#include <limits>
#include <optional>
#include <tuple>

#include "codes.hpp"
#include "qjl/error.hpp"

namespace qjl {
namespace {

// Names of a pair of codes. An exact cache needs no sinks, the paper's has none.
struct WholeName {
  std::string_view text;
  Code key, value;
  bool sinks;
};
constexpr WholeName kWholeNames[] = {{"f16", Code::f16, Code::f16, false}, {"paper", Code::jl, Code::minmax, false},
                                     {"t2v2", Code::t2w, Code::t2, true},  {"t3v2", Code::t3, Code::t2, true},
                                     {"t3v3", Code::t3, Code::t3, true},   {"t4v4", Code::t4, Code::t4, true}};
constexpr const WholeName* whole_name(Code key, Code value) {
  for (const WholeName& name : kWholeNames) {
    if (name.key == key && name.value == value) return &name;
  }
  return nullptr;
}

enum class Side : std::uint8_t { keys, values };
constexpr bool has_side(Code code, Side side) {
  return side == Side::keys ? traits(code).keys != KeyLayout::none : traits(code).values != ValueLayout::none;
}
constexpr char digit(Code code, Side side) { return side == Side::keys ? traits(code).key_digit : traits(code).value_digit; }

constexpr std::string_view kKnownOptions =
    "seed=N, sinks=N; with sketched keys also sketch=orthogonal|gaussian, rows=N, outliers=N, outlier_rows=N";

[[noreturn]] void refuse(std::string_view found, std::string_view wanted) {
  throw Error(ErrorKind::invalid_argument, "[cache type] found `" + std::string(found) + "`, wanted " + std::string(wanted));
}

// Calls with every code of a side, in the order of their numbers.
template <typename Function>
void each_code(Side side, const Function& function) {
  for (int number = 0; number < kNumCodes; ++number) {
    if (const Code code = static_cast<Code>(number); has_side(code, side)) function(code);
  }
}

// A digit or a code name of one side.
std::optional<Code> code_of(Side side, std::string_view text) {
  std::optional<Code> found;
  each_code(side, [&](Code code) {
    const char short_name = digit(code, side);
    if (code_name(code) == text || (short_name != 0 && text == std::string_view(&short_name, 1))) found = code;
  });
  return found;
}
// The digit of a code on one side, or its name.
std::string short_name(Side side, Code code) {
  return digit(code, side) != 0 ? std::string(1, digit(code, side)) : std::string(code_name(code));
}

// What may be asked for on one side: "f16, k1, k2, ..., s1, s2, ...".
std::string known_codes(Side side) {
  std::string digits, names;
  each_code(side, [&](Code code) {
    if (digit(code, side) != 0) digits += std::string(side == Side::keys ? ", k" : ", v") + digit(code, side);
    names += (names.empty() ? "" : ", ") + std::string(code_name(code));
  });
  return names + digits;
}
std::string known_types() {
  return "f16, k2v2, k3v2, k3v3, k4v3, k4v4, k5v4, k5v5, k6v5, k6v6, t2v2, t3v2, t3v3, t4v4, paper, or k<code>v<code> with keys " +
         known_codes(Side::keys) + " and values " + known_codes(Side::values) +
         " (as in k3v2 or kl4vs2); options may follow: TYPE:option=value,...";
}

CodecConfig make(Code key, Code value) {
  CodecConfig config;
  config.key_code = key;
  config.value_code = value;
  if (const WholeName* name = whole_name(key, value); name != nullptr && !name->sinks) config.sink_tokens = 0;
  return config;
}

std::uint64_t whole_number(std::string_view cache_type, std::string_view text, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > most) {
    refuse(cache_type, "a whole number up to " + std::to_string(most) + " after each `=`");
  }
  return number;
}
int small_number(std::string_view cache_type, std::string_view text) {
  return static_cast<int>(whole_number(cache_type, text, std::numeric_limits<int>::max()));
}

// Returns whether there is such an option. 0 would mean the default in SketchConfig, so "outliers=0" is written as -1 there.
bool set_sketch_option(SketchConfig& sketch, std::string_view cache_type, std::string_view key, std::string_view value) {
  if (key == "sketch" && (value == "orthogonal" || value == "gaussian")) {
    sketch.kind = value == "gaussian" ? SketchConfig::Kind::gaussian : SketchConfig::Kind::orthogonal;
  } else if (key == "rows") {
    sketch.rows = small_number(cache_type, value);
  } else if (key == "outliers") {
    const int channels = small_number(cache_type, value);
    sketch.outlier_channels = channels == 0 ? -1 : channels;
  } else if (key == "outlier_rows") {
    sketch.outlier_rows = small_number(cache_type, value);
  } else {
    return false;
  }
  return true;
}

void set_option(CodecConfig& config, std::string_view cache_type, std::string_view option) {
  const std::size_t equals = option.find('=');
  const std::string_view key = option.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view() : option.substr(equals + 1);
  if (key == "seed") {
    config.seed = whole_number(cache_type, value, std::numeric_limits<std::uint64_t>::max());
  } else if (key == "sinks") {
    config.sink_tokens = small_number(cache_type, value);
  } else if (traits(config.key_code).book != Book::sketch || !set_sketch_option(config.sketch, cache_type, key, value)) {
    refuse(cache_type, kKnownOptions);
  }
}

void set_options(CodecConfig& config, std::string_view cache_type, std::string_view options) {
  for (std::size_t comma = 0; comma != std::string_view::npos;) {
    comma = options.find(',');
    set_option(config, cache_type, options.substr(0, comma));
    if (comma != std::string_view::npos) options.remove_prefix(comma + 1);
  }
}

// The options that make `standard` into `config`, as set_options() reads them.
std::string option_text(const CodecConfig& config, const CodecConfig& standard) {
  std::string text;
  const auto add = [&text](const char* key, const std::string& value) {
    text += (text.empty() ? ":" : ",") + std::string(key) + "=" + value;
  };
  if (config.seed != standard.seed) add("seed", std::to_string(config.seed));
  if (config.sink_tokens != standard.sink_tokens) add("sinks", std::to_string(config.sink_tokens));
  if (traits(config.key_code).book != Book::sketch) return text;
  const SketchConfig& sketch = config.sketch;
  if (sketch.kind == SketchConfig::Kind::gaussian) add("sketch", "gaussian");
  if (sketch.rows != 0) add("rows", std::to_string(sketch.rows));
  if (sketch.outlier_channels != 0) add("outliers", std::to_string(sketch.outlier_channels == -1 ? 0 : sketch.outlier_channels));
  if (sketch.outlier_rows != 0) add("outlier_rows", std::to_string(sketch.outlier_rows));
  return text;
}

// A cache type without its options.
CodecConfig plain_config(std::string_view cache_type, std::string_view type) {
  for (const WholeName& name : kWholeNames) {
    if (name.text == type) return make(name.key, name.value);
  }
  const std::size_t v = type.find('v');
  if (!type.starts_with('k') || v == std::string_view::npos) refuse(cache_type, known_types());
  const std::optional<Code> key = code_of(Side::keys, type.substr(1, v - 1)), value = code_of(Side::values, type.substr(v + 1));
  if (!key || !value) refuse(cache_type, known_types());
  return make(*key, *value);
}

}  // namespace

std::string_view code_name(Code code) { return is_code(code) ? traits(code).name : "unknown"; }

std::vector<Code> plan_codes() {
  std::vector<Code> codes;
  each_code(Side::keys, [&](Code code) {
    if (has_side(code, Side::values)) codes.push_back(code);
  });
  return codes;
}

bool is_on_gpus(Code code) {
  return is_code(code) && traits(code).keys != KeyLayout::strings && traits(code).values != ValueLayout::strings;
}

CodecConfig codec_config(std::string_view cache_type) {
  const std::size_t colon = cache_type.find(':');
  CodecConfig config = plain_config(cache_type, cache_type.substr(0, colon));
  if (colon != std::string_view::npos) set_options(config, cache_type, cache_type.substr(colon + 1));
  return config;
}

CodecConfig codec_config(std::string_view key_type, std::string_view value_type) {
  const std::string_view key_text = key_type.starts_with('k') ? key_type.substr(1) : key_type;
  const std::string_view value_text = value_type.starts_with('v') ? value_type.substr(1) : value_type;
  const std::optional<Code> key = code_of(Side::keys, key_text), value = code_of(Side::values, value_text);
  if (!key) refuse(key_type, "a key type: " + known_codes(Side::keys));
  if (!value) refuse(value_type, "a value type: " + known_codes(Side::values));
  return make(*key, *value);
}

std::string cache_type_name(const CodecConfig& config) {
  const Code key = config.key_code, value = config.value_code;
  const WholeName* whole = whole_name(key, value);
  const std::string name =
      whole != nullptr ? std::string(whole->text) : "k" + short_name(Side::keys, key) + "v" + short_name(Side::values, value);
  return name + option_text(config, make(key, value));
}

CodecConfig layer_codec(const CacheConfig& config, int layer) {
  const auto l = static_cast<std::size_t>(layer);
  CodecConfig codec = config.codec;
  if (!config.layer_codes.empty()) std::tie(codec.key_code, codec.value_code) = config.layer_codes[l];
  if (!config.layer_ropes.empty()) codec.rope = config.layer_ropes[l];
  return codec;
}

}  // namespace qjl
