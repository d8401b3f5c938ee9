// `qjl serve`: one model on one port, for clients of OpenAI's endpoints.
//
// The I/O thread answers from the start, with 503 while the model is loaded; this thread loads it and then waits for the end.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <thread>

#include "chat_prompt.hpp"
#include "files.hpp"
#include "generation.hpp"
#include "memory_budget.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "scheduler.hpp"
#include "server.hpp"
#include "service.hpp"

namespace qjl::cli {
namespace {

struct ServeOptions {
  ModelOptions model;
  CacheOptions cache;
  TemplateOptions chat_template = {.name = "auto"};
  OutputOptions output;
  engine::SamplingConfig sampling = {.temperature = 1.0f, .top_k = 0, .top_p = 1.0f, .min_p = 0.0f};  // OpenAI's
  bool has_seed = false;
  engine::Arithmetic arithmetic = engine::Arithmetic::fast;
  std::int64_t max_tokens = -1;

  std::string host = "127.0.0.1", alias, key_file;
  std::uint16_t port = 8000;
  std::vector<std::string> keys, cors_origins, allowed_hosts;
  std::int64_t cache_mb = 512, prefix_dir_mb = 0;
  double request_timeout = 0, drain_timeout = 30;  // seconds
  engine::SchedulerConfig scheduler;
};

// "k3v2:sinks=0,seed=5,f16" is two types: a word with `=` goes on with the settings of the one before.
std::vector<std::string> type_names(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) {
    const bool is_setting = word.find('=') < word.find(':');
    if (is_setting && !names.empty() && names.back().find(':') != std::string::npos)
      names.back() += "," + word;
    else
      names.push_back(word);
  }
  return names;
}

// A plan is named by its file: clients see no folders.
engine::CacheType served_type(engine::CacheType type) {
  if (engine::is_plan(type.name)) type.name = std::filesystem::path(type.name).stem().string();
  return type;
}

std::vector<engine::CacheType> cache_types(const CacheOptions& options) {
  if (cache_device(options) != Device::cpu()) throw Usage("[serve] found --device " + options.device + ", wanted cpu");
  std::vector<engine::CacheType> types;
  const bool is_one = options.type.empty() || !options.key_type.empty() || !options.value_type.empty();
  if (is_one) return {served_type(cache_type(options))};
  for (const std::string& name : type_names(options.type)) {
    engine::CacheType type = served_type(cache_type(name));
    if (std::ranges::find(types, type.name, &engine::CacheType::name) != types.end())
      throw Usage("[serve] found two cache types of the name " + type.name + ", wanted names that differ");
    types.push_back(std::move(type));
  }
  return types;
}

std::vector<std::string> read_keys(const ServeOptions& options) {
  std::vector<std::string> keys = options.keys;
  if (!options.key_file.empty()) {
    std::istringstream lines(read_text(options.key_file));
    for (std::string line; std::getline(lines, line);) {
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty()) keys.push_back(line);
    }
    if (keys.empty()) throw Usage("[serve] found no key in --api-key-file, wanted one a line");
  }
  for (const std::string& key : keys) {
    if (key.empty()) throw Usage("[serve] found an empty --api-key, wanted one with characters");
  }
  return keys;
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(1e3 * seconds));
}

server::HttpConfig http_config(const ServeOptions& options) {
  server::HttpConfig config;
  config.host = options.host;
  config.port = options.port;
  config.door = {.keys = read_keys(options), .allowed_hosts = options.allowed_hosts, .cors_origins = options.cors_origins};
  config.catch_signals = true;
  config.drain_time = milliseconds(options.drain_timeout);
  config.answer_time = milliseconds(options.request_timeout);
  return config;
}

// That a request may ask for.
std::int64_t most_chunk(const ServeOptions& options) { return std::max(options.scheduler.chunk, server::kMostChunk); }

// Of all caches: --cache-mb, or what --memory leaves beside a chunk of a prompt whose rows are scored and a token of every request.
std::int64_t cache_bytes(const ServeOptions& options, const std::vector<engine::CacheType>& types, LoadedModel& loaded) {
  if (loaded.memory == 0) return options.cache_mb * 1'000'000;
  const LargestPass pass{
      .rows = most_chunk(options) + options.scheduler.parallel, .scores_rows = true, .arithmetic = options.arithmetic};
  return measure_memory(loaded, types.front(), loaded.memory, pass).cache();
}

engine::SchedulerConfig scheduler_config(const ServeOptions& options, std::vector<engine::CacheType> types, LoadedModel& loaded) {
  engine::SchedulerConfig config = options.scheduler;
  config.cache_bytes = cache_bytes(options, types, loaded);
  config.cache_types = std::move(types);
  config.context = loaded.context;
  config.arithmetic = options.arithmetic;
  config.prefix_dir_bytes = options.prefix_dir_mb * 1'000'000;
  return config;
}

server::ServedConfig served_config(const ServeOptions& options, const std::vector<engine::CacheType>& types) {
  const std::string stem = std::filesystem::path(options.model.path).stem().string();
  std::vector<std::string> names;
  for (const auto& type : types) names.push_back(type.name);
  return {.name = options.alias.empty() ? stem : options.alias,
          .cache_types = std::move(names),
          .sampling = options.sampling,
          .has_seed = options.has_seed,
          .most_chunk = most_chunk(options),
          .max_tokens = options.max_tokens,
          .template_variables = chat_options(options.chat_template).variables};
}

// Whatever --log-level says: who can reach the port can use the model.
void warn_of_open_port(const server::HttpServer& http, const server::HttpConfig& config) {
  if (http.loopback() || !config.door.keys.empty()) return;
  std::fprintf(stderr,
               "qjl: WARNING: listening on %s WITHOUT A KEY: everybody who reaches this machine can use the model,\n"
               "qjl: WARNING: read /cache and write prefixes. Give --api-key or --api-key-file, or listen on 127.0.0.1.\n",
               config.host.c_str());
}

void log_capacity(const engine::Scheduler& scheduler) {
  for (const auto& type : scheduler.config().cache_types) {
    if (type.forecast_kld) spdlog::info("plan {}: forecast KL divergence {:.5f}", type.name, *type.forecast_kld);
  }
  for (const auto& cache : scheduler.accounts().caches) {
    spdlog::info("cache {}: {:.0f} MB hold {} tokens at {:.2f} bits a number; f16 would hold {}", cache.name,
                 static_cast<double>(cache.budget_bytes) / 1e6, cache.capacity_tokens, cache.bits_sealed,
                 cache.capacity_tokens_f16);
  }
}

std::string address(const std::string& host, std::uint16_t port) {
  const bool brackets = host.find(':') != std::string::npos;
  return "http://" + (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// The I/O thread; ends with the scope.
class IoThread {
 public:
  explicit IoThread(server::HttpServer& http) : http_(http), thread_([this] { signal_ = http_.run(); }) {}
  ~IoThread() {
    http_.stop();
    if (thread_.joinable()) thread_.join();
  }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;
  int wait() {
    thread_.join();
    return signal_;
  }

 private:
  server::HttpServer& http_;
  int signal_ = 0;
  std::thread thread_;
};

Exit exit_of(int signal) { return signal == SIGINT ? Exit::interrupted : Exit::ok; }

Exit run_serve(const ServeOptions& options) {
  auto types = cache_types(options.cache);
  const server::ServedConfig config = served_config(options, types);
  const server::HttpConfig http_options = http_config(options);
  std::atomic<server::Service*> ready = nullptr;
  server::HttpServer http(http_options, [&ready](server::Request request, std::shared_ptr<server::Reply> reply) {
    if (server::Service* service = ready) return service->handle(std::move(request), std::move(reply));
    reply->send(server::fault_response(
        {.status = 503, .message = "the model is being loaded", .code = "loading", .headers = {{"Retry-After", "1"}}}));
  });
  http.on_drain([&ready](int signal) {
    if (server::Service* service = ready) return service->drain();
    std::_Exit(static_cast<int>(exit_of(signal)));  // loading cannot be interrupted, and nothing is lost
  });
  warn_of_open_port(http, http_options);
  const std::uint16_t port = http.port();
  IoThread io(http);

  LoadedModel loaded(options.model);
  const auto format = chat_template(loaded, options.chat_template.name);
  loaded.model.prepare(options.arithmetic, loaded.threads);
  engine::Scheduler scheduler(loaded.model, loaded.tokenizer, loaded.threads, scheduler_config(options, std::move(types), loaded));
  const server::ServedModel model(loaded.tokenizer, format, config);
  server::Service service(model, scheduler);
  log_capacity(scheduler);
  ready = &service;
  std::cout << "listening on " << address(options.host, port) << std::endl;
  const int signal = io.wait();
  for (const int each : {SIGTERM, SIGINT}) std::signal(each, SIG_DFL);  // a second one ends what is left to do
  ready = nullptr;
  scheduler.drain(0);  // its listeners use the service: they end first
  return exit_of(signal);
}

void add_port_options(CLI::App& command, ServeOptions& options) {
  const auto add = [&](const char* name, auto& value, const char* text) {
    return command.add_option(name, value, text)->group("Port");
  };
  add("--host", options.host, "address to listen on (default 127.0.0.1: this machine alone)");
  add("--port", options.port, "port (default 8000, 0: a free one)");
  add("--alias", options.alias, "name of the model for clients (default: the file's)");
  add("--api-key", options.keys, "key that clients must give; several: any of them");
  add("--api-key-file", options.key_file, "file of keys, one a line");
  add("--cors-origin", options.cors_origins, "origin whose pages may call, as http://host:3000; * for every one");
  add("--allowed-host", options.allowed_hosts, "name in Host that is taken besides this machine's own");
  add("--request-timeout", options.request_timeout, "seconds that an answer may take (default 0: any)")
      ->check(CLI::Range(0.0, 1e6));
  add("--drain-timeout", options.drain_timeout, "seconds that answers may go on after SIGTERM (default 30)")
      ->check(CLI::Range(0.0, 1e6));
}

void add_scheduler_options(CLI::App& command, ServeOptions& options) {
  engine::SchedulerConfig& config = options.scheduler;
  const auto add = [&](const char* name, auto& value, const char* text) {
    return command.add_option(name, value, text)->group("Requests");
  };
  const auto multiple = [](const std::string& word) {
    return std::stoll(word) % kTokensPerPage == 0 ? std::string()
                                                  : "found " + word + ", wanted a multiple of " + std::to_string(kTokensPerPage);
  };
  add("--cache-mb", options.cache_mb, "megabytes of all caches: pages, tails, tables (default 512)")
      ->check(CLI::Range(1, 1 << 30))
      ->excludes("--memory");
  add("-n,--n-predict", options.max_tokens, "tokens to make at most where a request does not say")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30));
  // -np is no word of CLI11's: spell_out_short_words() makes it --parallel.
  add("--parallel", config.parallel, "-np: requests at once, more wait (default 8)")->check(CLI::Range(1, 1024));
  add("--chunk", config.chunk, "tokens of prompt per pass, a multiple of 128 (default 512)")
      ->check(CLI::Range(kTokensPerPage, 1 << 20))
      ->check(CLI::Validator([multiple](std::string& word) { return multiple(word); }, ""));
  add("--max-queue", config.max_queue, "requests that may wait; more get status 429 (default 64)")->check(CLI::Range(0, 1 << 20));
  command
      .add_flag("--reproducible", config.is_reproducible, "the same bits of an answer alone and in company, cold and from prefixes")
      ->group("Requests");
  add("--prefix-dir", config.prefix_dir, "folder of saved prefixes")->check(CLI::ExistingDirectory);
  add("--prefix-dir-mb", options.prefix_dir_mb, "megabytes of idle conversations to keep there, too (default 0)")
      ->check(CLI::Range(0, 1 << 30));
}

}  // namespace

Verb add_serve(CLI::App& program) {
  auto options = std::make_shared<ServeOptions>();
  auto* command = program.add_subcommand("serve", "answer clients of OpenAI's endpoints on a port");
  add_model_options(*command, options->model);
  add_memory_option(*command, options->model);
  add_arithmetic_option(*command, options->arithmetic);
  add_template_options(*command, options->chat_template);
  add_port_options(*command, *options);
  add_scheduler_options(*command, *options);
  add_cache_options(*command, options->cache);
  add_sampling_options(*command, options->sampling);
  command->add_option("--log-level", options->output.log_level, "what stderr tells: debug, info (default), warn, error, off")
      ->envname("QJL_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->group("Output");
  return {command, [options, command] {
            if (options->output.log_level.empty()) options->output.log_level = "info";
            apply_log_level(options->output);
            options->has_seed = command->count("--seed") > 0;
            return run_serve(*options);
          }};
}

}  // namespace qjl::cli
