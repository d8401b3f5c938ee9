// Names of codes and cache types, both ways. One table: what is written here is all that is known.
//
//   k1 k2 k3 k4 = s1 s2 l8 l16      v1 v2 v3 v4 = s1 l4 l8 l16      paper = jl keys, minmax values, no sinks
//   TYPE:option=value,option=value  sets what differs from the type's defaults
#include "qjl/config.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <tuple>

#include "qjl/error.hpp"

namespace qjl {
namespace {

struct Name {
  Code code;
  std::string_view text;
};
constexpr std::array kCodeNames = {Name{Code::f16, "f16"}, Name{Code::s1, "s1"},        Name{Code::s2, "s2"},
                                   Name{Code::l4, "l4"},   Name{Code::l8, "l8"},        Name{Code::l16, "l16"},
                                   Name{Code::jl, "jl"},   Name{Code::minmax, "minmax"}};
constexpr std::array kKeyDigits = {Name{Code::s1, "1"}, Name{Code::s2, "2"}, Name{Code::l8, "3"}, Name{Code::l16, "4"}};
constexpr std::array kValueDigits = {Name{Code::s1, "1"}, Name{Code::l4, "2"}, Name{Code::l8, "3"}, Name{Code::l16, "4"}};
constexpr std::string_view kKnown =
    "f16, k2v2, k3v2, k3v3, k4v3, k4v4, k{1..4}v{1..4}, k<code>v<code> with codes f16, s1, s2, l4, l8, l16, jl (keys), minmax "
    "(values), or paper; options may follow: TYPE:option=value,...";
constexpr std::string_view kKnownOptions =
    "seed=N, sinks=N; with sketched keys also sketch=orthogonal|gaussian, rows=N, outliers=N, outlier_rows=N";

[[noreturn]] void refuse(std::string_view found, std::string_view wanted) {
  throw Error(ErrorKind::invalid_argument, "[cache type] found `" + std::string(found) + "`, wanted " + std::string(wanted));
}

template <std::size_t N>
std::optional<Code> find(const std::array<Name, N>& names, std::string_view text) {
  for (const Name& name : names) {
    if (name.text == text) return name.code;
  }
  return std::nullopt;
}

// A digit or a code name of one side; each side has codes that the other cannot use.
std::optional<Code> key_code(std::string_view text) {
  const std::optional<Code> code = find(kKeyDigits, text).has_value() ? find(kKeyDigits, text) : find(kCodeNames, text);
  return code == Code::minmax ? std::nullopt : code;
}
std::optional<Code> value_code(std::string_view text) {
  const std::optional<Code> code = find(kValueDigits, text).has_value() ? find(kValueDigits, text) : find(kCodeNames, text);
  return code == Code::jl ? std::nullopt : code;
}

// An exact cache has no sinks of its own, and the paper's has none at all.
CodecConfig make(Code key, Code value) {
  CodecConfig config;
  config.key_code = key;
  config.value_code = value;
  if ((key == Code::f16 && value == Code::f16) || (key == Code::jl && value == Code::minmax)) config.sink_tokens = 0;
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
  } else if (config.key_code != Code::jl || !set_sketch_option(config.sketch, cache_type, key, value)) {
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
  if (config.key_code != Code::jl) return text;
  const SketchConfig& sketch = config.sketch;
  if (sketch.kind == SketchConfig::Kind::gaussian) add("sketch", "gaussian");
  if (sketch.rows != 0) add("rows", std::to_string(sketch.rows));
  if (sketch.outlier_channels != 0) add("outliers", std::to_string(sketch.outlier_channels == -1 ? 0 : sketch.outlier_channels));
  if (sketch.outlier_rows != 0) add("outlier_rows", std::to_string(sketch.outlier_rows));
  return text;
}

// A cache type without its options.
CodecConfig plain_config(std::string_view cache_type, std::string_view type) {
  if (type == "f16") return make(Code::f16, Code::f16);
  if (type == "paper") return make(Code::jl, Code::minmax);
  const std::size_t v = type.find('v');
  if (!type.starts_with('k') || v == std::string_view::npos) refuse(cache_type, kKnown);
  const std::optional<Code> key = key_code(type.substr(1, v - 1)), value = value_code(type.substr(v + 1));
  if (!key || !value) refuse(cache_type, kKnown);
  return make(*key, *value);
}

// The digit of a code on one side, or its name.
template <std::size_t N>
std::string_view short_name(const std::array<Name, N>& digits, Code code) {
  for (const Name& name : digits) {
    if (name.code == code) return name.text;
  }
  return code_name(code);
}

}  // namespace

std::string_view code_name(Code code) {
  for (const Name& name : kCodeNames) {
    if (name.code == code) return name.text;
  }
  return "unknown";
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
  const std::optional<Code> key = key_code(key_text), value = value_code(value_text);
  if (!key) refuse(key_type, "a key type: f16, k1, k2, k3, k4, s1, s2, l4, l8, l16, jl");
  if (!value) refuse(value_type, "a value type: f16, v1, v2, v3, v4, s1, s2, l4, l8, l16, minmax");
  return make(*key, *value);
}

std::string cache_type_name(const CodecConfig& config) {
  const Code key = config.key_code, value = config.value_code;
  std::string name;
  if (key == Code::f16 && value == Code::f16) {
    name = "f16";
  } else if (key == Code::jl && value == Code::minmax) {
    name = "paper";
  } else {
    name = "k" + std::string(short_name(kKeyDigits, key)) + "v" + std::string(short_name(kValueDigits, value));
  }
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
