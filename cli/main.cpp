// The `qjl` program: one verb per file. Results go to stdout, log and progress to stderr.
//
// Exit codes: 0 done, 1 failure, 2 wrong usage, 130 interrupted.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>

#include "interrupt.hpp"
#include "options.hpp"
#include "qjl/simd.hpp"
#include "verbs.hpp"

namespace qjl::cli {
namespace {

std::string version_text() {
#if defined(__clang__)
  const std::string compiler = "clang " __clang_version__;
#else
  const std::string compiler = "gcc " __VERSION__;
#endif
  return "qjl " QJL_VERSION " (" + compiler + ", " + std::string(simd_target_name(simd_target())) + ")";
}

void start_log() {
  const char* no_colour = std::getenv("NO_COLOR");
  const bool colour = isatty(STDERR_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
  auto sink =
      std::make_shared<spdlog::sinks::stderr_color_sink_mt>(colour ? spdlog::color_mode::always : spdlog::color_mode::never);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("qjl", sink));
  spdlog::set_pattern("%^%l%$ %v");
  spdlog::set_level(spdlog::level::warn);
}

// One line whatever the log level: a failure is never silent.
Exit report(const char* what, Exit code) {
  std::cout.flush();
  std::fprintf(stderr, "qjl: %s\n", what);
  return code;
}

Exit run_verb(const Verb& verb) {
  try {
    return verb.run();
  } catch (const Interrupted&) {
    return Exit::interrupted;
  } catch (const Usage& error) {
    return report(error.what(), Exit::usage);
  } catch (const std::bad_alloc&) {
    return report("out of memory", Exit::failure);
  } catch (const std::exception& error) {
    return report(error.what(), Exit::failure);
  }
}

// CLI11 reports help and version as errors of code 0; every other one is wrong usage.
Exit parse_failure(const CLI::App& program, const CLI::ParseError& error) {
  return program.exit(error, std::cout, std::cerr) == 0 ? Exit::ok : Exit::usage;
}

Exit run_program(int argc, char** argv) {
  start_log();
  catch_interrupts();
  CLI::App program{"Runs language models on a key-value cache of 2 to 4 bits per number.", "qjl"};
  program.set_help_flag("-h,--help", "print this help");
  program.set_version_flag("--version", version_text);
  program.require_subcommand(1);
  const Verb verbs[] = {add_run(program),  add_chat(program),  add_eval(program),  add_plan(program),
                        add_info(program), add_serve(program), add_study(program), add_inspect(program)};
  try {
    auto words = spell_out_short_words(argc, argv);
    std::reverse(words.begin(), words.end());  // CLI11 takes them last first
    program.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    return parse_failure(program, error);
  }
  const auto chosen = std::find_if(std::begin(verbs), std::end(verbs), [](const Verb& verb) { return verb.command->parsed(); });
  return run_verb(*chosen);
}

}  // namespace
}  // namespace qjl::cli

int main(int argc, char** argv) {
  try {
    return static_cast<int>(qjl::cli::run_program(argc, argv));
  } catch (const std::exception& error) {
    return static_cast<int>(qjl::cli::report(error.what(), qjl::cli::Exit::failure));
  }
}
