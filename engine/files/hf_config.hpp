// config.json of a folder of Hugging Face -> the metadata of a model file, by the names of GGUF.
//
// Old and new forms of transformers are read: rope_theta with rope_scaling, or rope_parameters, for all layers or by their type; the
// text part of a model that sees pictures too. What a key says that changes the arithmetic and is not followed is refused; the lists
// are in hf_config.cpp. Source: the configuration classes of transformers 5.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "hf_families.hpp"
#include "model_file.hpp"
#include "read_json.hpp"

namespace qjl::engine {

using FileValues = std::map<std::string, FileValue, std::less<>>;

struct HfConfig {
  const HfFamily* family = nullptr;
  FileValues values;                                   // "general.architecture", "<architecture>.block_count" ...
  std::map<std::string, std::vector<float>> divisors;  // of RoPE, by the name of GGUF's tensor
  std::int64_t vocab_size = 0;
  bool tied_embeddings = false;
  std::vector<std::int64_t> ends;  // eos_token_id, one or several
};

// Errors: bad_file "[config.json] ..." on a missing key or another type, unsupported on a family or a key that is not followed.
HfConfig read_hf_config(const FileJson& config);

// Reads keys of one object of config.json and remembers which.
class HfKeys {
 public:
  HfKeys(const FileJson& object, std::string where) : object_(object), where_(std::move(where)) {}

  const FileJson* find(const char* key) const;  // null when absent or null
  // Errors of these: bad_file on another type, or, without `absent`, on no such key.
  std::int64_t integer(const char* key) const;
  std::int64_t integer_or(const char* key, std::int64_t absent) const;
  double number(const char* key) const;
  double number_or(const char* key, double absent) const;
  bool boolean_or(const char* key, bool absent) const;
  std::string text_or(const char* key, const char* absent) const;
  std::vector<float> numbers(const char* key) const;

  const FileJson& object() const { return object_; }
  const std::set<std::string>& asked() const { return asked_; }
  [[noreturn]] void fail(const std::string& key, const std::string& found, const std::string& wanted) const;
  [[noreturn]] void refuse(const std::string& key, const std::string& found, const std::string& wanted) const;  // unsupported

 private:
  const FileJson& object_;
  std::string where_;
  mutable std::set<std::string> asked_;
};

// The part of read_hf_config that is about layers that differ (hf_layers.cpp): adds to values.
void read_hf_layers(const HfKeys& keys, HfConfig& config);

// The part of read_hf_config that is about RoPE (hf_layers.cpp): adds to values and divisors.
void read_hf_rope(const HfKeys& keys, HfConfig& config);

}  // namespace qjl::engine
