// Names of codes and cache types, both ways. One table: what is written here is all that is known.
//
//   k1 k2 k3 k4 = s1 s2 l8 l16      v1 v2 v3 v4 = s1 l4 l8 l16      paper = jl keys, minmax values, no sinks
#include "qjl/config.hpp"

#include <array>
#include <charconv>
#include <optional>

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
    "(values), "
    "or paper[:sketch=orthogonal|gaussian,rows=N,outliers=N,outlier_rows=N]";

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

// 0 would mean the default in SketchConfig, so "outliers=0" is written as -1 there.
int positive_number(std::string_view cache_type, std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) refuse(cache_type, "a whole number after each `=`");
  return number;
}

void set_option(CodecConfig& config, std::string_view cache_type, std::string_view option) {
  const std::size_t equals = option.find('=');
  const std::string_view key = option.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view() : option.substr(equals + 1);
  if (key == "sketch" && value == "orthogonal") {
    config.sketch.kind = SketchConfig::Kind::orthogonal;
  } else if (key == "sketch" && value == "gaussian") {
    config.sketch.kind = SketchConfig::Kind::gaussian;
  } else if (key == "rows") {
    config.sketch.rows = positive_number(cache_type, value);
  } else if (key == "outliers") {
    const int channels = positive_number(cache_type, value);
    config.sketch.outlier_channels = channels == 0 ? -1 : channels;
  } else if (key == "outlier_rows") {
    config.sketch.outlier_rows = positive_number(cache_type, value);
  } else {
    refuse(cache_type, "paper options sketch=orthogonal|gaussian, rows=N, outliers=N, outlier_rows=N");
  }
}

CodecConfig paper_config(std::string_view cache_type, std::string_view options) {
  CodecConfig config = make(Code::jl, Code::minmax);
  while (!options.empty()) {
    const std::size_t comma = options.find(',');
    set_option(config, cache_type, options.substr(0, comma));
    options = comma == std::string_view::npos ? std::string_view() : options.substr(comma + 1);
  }
  return config;
}

std::string paper_name(const SketchConfig& sketch) {
  std::string options;
  const auto add = [&options](const char* key, const std::string& value) {
    options += (options.empty() ? ":" : ",") + std::string(key) + "=" + value;
  };
  if (sketch.kind == SketchConfig::Kind::gaussian) add("sketch", "gaussian");
  if (sketch.rows != 0) add("rows", std::to_string(sketch.rows));
  if (sketch.outlier_channels != 0) add("outliers", std::to_string(sketch.outlier_channels == -1 ? 0 : sketch.outlier_channels));
  if (sketch.outlier_rows != 0) add("outlier_rows", std::to_string(sketch.outlier_rows));
  return "paper" + options;
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
  if (cache_type == "f16") return make(Code::f16, Code::f16);
  if (cache_type == "paper") return paper_config(cache_type, "");
  if (cache_type.starts_with("paper:")) return paper_config(cache_type, cache_type.substr(6));
  const std::size_t v = cache_type.find('v');
  if (!cache_type.starts_with('k') || v == std::string_view::npos) refuse(cache_type, kKnown);
  const std::optional<Code> key = key_code(cache_type.substr(1, v - 1)), value = value_code(cache_type.substr(v + 1));
  if (!key || !value) refuse(cache_type, kKnown);
  return make(*key, *value);
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
  if (config.key_code == Code::f16 && config.value_code == Code::f16) return "f16";
  if (config.key_code == Code::jl && config.value_code == Code::minmax) return paper_name(config.sketch);
  return "k" + std::string(short_name(kKeyDigits, config.key_code)) + "v" +
         std::string(short_name(kValueDigits, config.value_code));
}

}  // namespace qjl
