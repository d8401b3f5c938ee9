// read_rope: keys and options -> base, factor, divisors of the frequencies, magnitude. rope_keys.hpp has the names.
#include "rope_keys.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "architecture.hpp"
#include "metadata_keys.hpp"
#include "model_config.hpp"
#include "qjl/error.hpp"
#include "quants.hpp"

namespace qjl::engine {
namespace {

constexpr double kMostFactor = 1e6;

std::vector<float> divisors_from_tensor(const FileTensor& tensor, int dimensions) {
  const std::int64_t wanted = dimensions / 2, found = tensor.shape.size() == 1 ? tensor.shape[0] : -1;
  if (found != wanted) refuse_model("the length of " + tensor.name, std::to_string(found), std::to_string(wanted));
  if (wanted % block_numbers(tensor.type) != 0)
    refuse_model("the type of " + tensor.name, std::string(weight_type_name(tensor.type)), "f32");
  std::vector<float> divisors(static_cast<std::size_t>(wanted));
  dequantize(tensor.type, tensor.data.data(), wanted, divisors.data());
  for (const float divisor : divisors) {
    if (!(std::isfinite(divisor) && divisor > 0.0f)) refuse_model("a number of " + tensor.name, std::to_string(divisor), "above 0");
  }
  return divisors;
}

class RopeReader {
 public:
  RopeReader(const ModelFile& file, const MetadataKeys& keys, const Architecture& family, const RopeOptions& options)
      : file_(file), keys_(keys), family_(family), options_(options) {}

  RopeConfig read(int key_dim);

 private:
  std::string scaling_type() const;
  void check_options(const std::string& type, bool has_divisors) const;
  double original_context() const;
  void add_divisors(const std::vector<float>& divisors);
  void add_llama3();
  void add_yarn();
  void add_longrope();

  const ModelFile& file_;
  const MetadataKeys& keys_;
  const Architecture& family_;
  const RopeOptions& options_;
  RopeConfig rope_;
  double factor_ = 1.0;
};

// A user's factor without a type is linear, as a file's; files of LongRoPE may show it by their tensors alone.
std::string RopeReader::scaling_type() const {
  if (options_.scaling) {
    switch (*options_.scaling) {
      case RopeOptions::Scaling::none: return "none";
      case RopeOptions::Scaling::linear: return "linear";
      case RopeOptions::Scaling::yarn: return "yarn";
    }
  }
  const bool has_factor = options_.factor || keys_.has_positive("rope.scaling.factor") || keys_.has_positive("rope.scale_linear");
  const bool has_tensors = file_.find_tensor("rope_factors_long.weight") != nullptr;
  const std::string type = keys_.text_or("rope.scaling.type", has_tensors ? "longrope" : has_factor ? "linear" : "none");
  return type == "none" && options_.factor ? "linear" : type;
}

// An option that the type of scaling has no use for is refused: a user would take it to be followed.
void RopeReader::check_options(const std::string& type, bool has_divisors) const {
  const bool is_yarn = type == "yarn", is_llama3 = type == "llama3";
  const auto check = [&](const char* name, bool is_given, bool is_used, const char* wanted) {
    if (!is_given || is_used) return;
    throw Error(ErrorKind::invalid_argument, std::string("[rope] found ") + name + " beside scaling \"" + type + "\"" +
                                                 (is_llama3 && has_divisors ? " whose divisors the model holds" : "") +
                                                 ", wanted " + wanted);
  };
  check("--rope-scale or --rope-freq-scale", options_.factor.has_value(),
        is_yarn || type == "linear" || (is_llama3 && !has_divisors), "--rope-scaling linear or yarn");
  check("--yarn-orig-ctx", options_.yarn_original_context.has_value(), is_yarn || type == "longrope", "--rope-scaling yarn");
  for (const auto& [name, option] : {std::pair{"--yarn-ext-factor", options_.yarn_ext_factor},
                                     {"--yarn-attn-factor", options_.yarn_attention_factor},
                                     {"--yarn-beta-fast", options_.yarn_beta_fast},
                                     {"--yarn-beta-slow", options_.yarn_beta_slow}}) {
    check(name, option.has_value(), is_yarn, "--rope-scaling yarn");
  }
}

double RopeReader::original_context() const {
  if (options_.yarn_original_context) return *options_.yarn_original_context;
  if (const char* name = "rope.scaling.original_context_length"; keys_.has_positive(name))
    return static_cast<double>(keys_.integer(name, kMostContext));
  return static_cast<double>(keys_.integer("context_length", kMostContext));
}

void RopeReader::add_divisors(const std::vector<float>& divisors) {
  if (rope_.frequency_divisors.empty()) rope_.frequency_divisors.assign(divisors.size(), 1.0f);
  for (std::size_t i = 0; i < divisors.size(); ++i) rope_.frequency_divisors[i] *= divisors[i];
}

void RopeReader::add_llama3() {
  Llama3Scaling scaling;
  if (options_.factor || keys_.has_positive("rope.scaling.factor")) scaling.factor = factor_;
  scaling.low_frequency_factor = keys_.positive_or("rope.scaling.low_freq_factor", scaling.low_frequency_factor, kMostFactor);
  scaling.high_frequency_factor = keys_.positive_or("rope.scaling.high_freq_factor", scaling.high_frequency_factor, kMostFactor);
  scaling.original_context =
      keys_.positive_or("rope.scaling.original_context_length", scaling.original_context, static_cast<double>(kMostContext));
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    refuse_model(keys_.prefix() + "rope.scaling.high_freq_factor", std::to_string(scaling.high_frequency_factor),
                 "above low_freq_factor");
  }
  add_divisors(llama3_divisors(rope_.base, rope_.dimensions, scaling));
}

void RopeReader::add_yarn() {
  const auto number = [&](const std::optional<double>& option, const char* key, double absent) {
    return option ? *option : keys_.has(key) ? keys_.number_within(key, 0.0, kMostFactor) : absent;
  };
  YarnScaling yarn;
  yarn.factor = factor_;
  yarn.original_context = original_context();
  yarn.extrapolation = number(options_.yarn_ext_factor, "rope.scaling.yarn_ext_factor", yarn.extrapolation);
  yarn.beta_fast = number(options_.yarn_beta_fast, "rope.scaling.yarn_beta_fast", yarn.beta_fast);
  yarn.beta_slow = number(options_.yarn_beta_slow, "rope.scaling.yarn_beta_slow", yarn.beta_slow);
  if (!(yarn.beta_slow > 0.0 && yarn.beta_fast > yarn.beta_slow)) {
    refuse_model("YaRN's beta_fast", std::to_string(yarn.beta_fast), "above beta_slow (" + std::to_string(yarn.beta_slow) + ")");
  }
  yarn.bounds = family_.yarn_between_pairs ? YarnScaling::Bounds::exact : YarnScaling::Bounds::whole_pairs;
  const double log_multiplier = number({}, "rope.scaling.yarn_log_multiplier", 0.0);
  const double usual = yarn.extrapolation > 0.0 ? yarn_magnitude(factor_, log_multiplier) : 1.0;
  rope_.magnitude = keys_.positive_or("rope.scaling.yarn_attn_factor", usual, kMostFactor) *
                    keys_.positive_or("rope.scaling.attn_factor", 1.0, kMostFactor) * options_.yarn_attention_factor.value_or(1.0);
  add_divisors(yarn_divisors(rope_.base, rope_.dimensions, yarn));
}

void RopeReader::add_longrope() {
  const double original = original_context(), trained = static_cast<double>(keys_.integer("context_length", kMostContext));
  const double used = options_.context > 0 ? static_cast<double>(options_.context) : trained;
  rope_.magnitude = keys_.positive_or("rope.scaling.attn_factor", longrope_magnitude(trained / original, original), kMostFactor);
  const bool is_long = used > original;
  add_divisors(
      divisors_from_tensor(file_.tensor(is_long ? "rope_factors_long.weight" : "rope_factors_short.weight"), rope_.dimensions));
}

RopeConfig RopeReader::read(int key_dim) {
  rope_.interleaved = keys_.boolean_or("rope.interleaved_pairs", family_.interleaved_pairs);
  const double base = keys_.positive_or("rope.freq_base", 10000.0, kMostBase);
  rope_.base = options_.base.value_or(base);
  rope_.dimensions = static_cast<int>(keys_.integer_or("rope.dimension_count", key_dim, key_dim));
  if (rope_.dimensions % 2 != 0)
    refuse_model(keys_.prefix() + "rope.dimension_count", std::to_string(rope_.dimensions), "an even number");
  const std::string type = scaling_type();
  const FileTensor* divisors = file_.find_tensor("rope_freqs.weight");
  check_options(type, divisors != nullptr);
  for (const char* name : {"rope.scale_linear", "rope.scaling.factor"}) {
    if (keys_.has_positive(name)) factor_ = keys_.positive_or(name, 1.0, kMostFactor);
  }
  factor_ = options_.factor.value_or(factor_);
  if (type == "linear") {
    rope_.factor = factor_;
  } else if (type == "llama3") {
    add_llama3();
  } else if (type == "yarn") {
    add_yarn();
  } else if (type == "longrope") {
    add_longrope();
  } else if (type != "none") {
    throw Error(ErrorKind::unsupported, "[model] " + keys_.prefix() + "rope.scaling.type is \"" + type +
                                            "\", wanted none, linear, llama3, yarn or longrope");
  }
  if (divisors != nullptr) {
    if (type == "llama3") rope_.frequency_divisors.clear();  // the tensor has them already
    add_divisors(divisors_from_tensor(*divisors, rope_.dimensions));
  }
  return rope_;
}

}  // namespace

RopeConfig read_rope(const ModelFile& file, const MetadataKeys& keys, const Architecture& family, int key_dim,
                     const RopeOptions& options) {
  return RopeReader(file, keys, family, options).read(key_dim);
}

RopeConfig plain_rope(const RopeConfig& rope, double base) {
  RopeConfig plain;
  plain.base = base;
  plain.dimensions = rope.dimensions;
  plain.interleaved = rope.interleaved;
  return plain;
}

}  // namespace qjl::engine
