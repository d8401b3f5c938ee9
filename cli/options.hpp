// What the verbs share: the words of the command line, grouped, and the values that they fill.
//
// A verb is a subcommand and the function that runs it. Its add_ function registers options that live as long as the program.
// Words are llama.cpp's where the meaning is the same. A value that cannot be right is a Usage error (exit code 2); what goes
// wrong later, with a file or a text, is a failure (exit code 1).
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cache_type.hpp"
#include "model.hpp"
#include "qjl/config.hpp"
#include "qjl/device.hpp"
#include "sampler.hpp"

namespace qjl::cli {

enum class Exit : int { ok = 0, failure = 1, usage = 2, interrupted = 130 };

class Usage : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Verb {
  CLI::App* command;
  std::function<Exit()> run;
};

Verb add_run(CLI::App& program);
Verb add_chat(CLI::App& program);
Verb add_info(CLI::App& program);
Verb add_serve(CLI::App& program);

struct ModelOptions {
  std::string path;
  std::int64_t context = 0;  // tokens; 0: what the model was trained for
  std::int64_t memory = 0;   // bytes of all that a run takes; 0: not said
  int threads = 0;           // 0: every processor that the process may use
  engine::RopeOptions rope;  // instead of what the file says
};

struct CacheOptions {
  std::string type, key_type, value_type;
  std::string device = "cpu";
};

// Of a saved cache (qjl/cache_file.hpp): the file to go on with, the file to leave.
struct SavedCacheOptions {
  std::string load, save;
};

struct OutputOptions {
  bool json = false;
  std::string file;
  std::string log_level;
};

struct TemplateOptions {
  std::string name = {};
  std::string variables = {};  // JSON
};

enum class SpecialTokens : std::uint8_t { hidden, shown };

struct GenerateOptions {
  engine::SamplingConfig sampling = {};
  std::int64_t max_tokens = -1;  // -1: until the model ends or the context is full
  engine::Arithmetic arithmetic = engine::Arithmetic::fast;
  std::int64_t chunk = 0;  // 0: the prompt in one piece
  TemplateOptions chat_template = {};
  std::optional<std::string> system = {};
  SpecialTokens special = SpecialTokens::hidden;  // of the answer
};

void add_model_options(CLI::App& command, ModelOptions& options);
// --memory, which gives the context.
void add_memory_option(CLI::App& command, ModelOptions& options);
void add_cache_options(CLI::App& command, CacheOptions& options);
void add_saved_cache_options(CLI::App& command, SavedCacheOptions& options);
void add_arithmetic_option(CLI::App& command, engine::Arithmetic& arithmetic);
void add_output_options(CLI::App& command, OutputOptions& options);
void add_template_options(CLI::App& command, TemplateOptions& options);
// The values that it finds are named as defaults.
void add_sampling_options(CLI::App& command, engine::SamplingConfig& sampling);
void add_generate_options(CLI::App& command, GenerateOptions& options);
void apply_log_level(const OutputOptions& options);

// The codec that --cache or -ctk/-ctv name; Usage when both do or a name is unknown.
engine::CacheType cache_type(const CacheOptions& options);
// Where --device puts the cache: a device that is there. Errors: Usage on a name that is none, unsupported on one that is absent.
Device cache_device(const CacheOptions& options);
// The same as cache_type for one name.
engine::CacheType cache_type(const std::string& type);
// CLI11 has no one-dash words of several letters: -ctk and -ctv (also -ctk=k3) become --cache-type-k and --cache-type-v, -np
// becomes --parallel, -sp --special.
// Everything after `--` is left alone.
std::vector<std::string> spell_out_short_words(int argc, const char* const* argv);

}  // namespace qjl::cli
