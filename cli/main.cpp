// The `qjl` program: one verb per file. Results go to stdout, log and progress to stderr.
//
// Exit codes: 0 done, 1 failure, 2 wrong usage, 130 interrupted.
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <utility>

#include "interrupt.hpp"
#include "math_libraries.hpp"
#include "options.hpp"
#include "qjl/simd.hpp"
#include "terminal_text.hpp"
#include "text_libraries.hpp"
#include "token_grammar.hpp"
#include "verbs.hpp"

namespace qjl::cli {
namespace {

std::string version_text() {
#if defined(__clang__)
  const std::string compiler = "clang " __clang_version__;
#else
  const std::string compiler = "gcc " __VERSION__;
#endif
  return "qjl " QJL_VERSION " (" + compiler + ", " + std::string(simd_target_name(simd_target())) + ")\n" +
         engine::math_libraries() + ", " + engine::text_libraries() +
         (server::grammar_library().empty() ? "" : ", " + server::grammar_library());
}

// What the log tells may hold names of files and models.
class ShownMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string line = one_line({message.payload.data(), message.payload.size()});
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<ShownMessage>(); }
};

void start_log() {
  const char* no_colour = std::getenv("NO_COLOR");
  const bool colour = isatty(STDERR_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
  auto sink =
      std::make_shared<spdlog::sinks::stderr_color_sink_mt>(colour ? spdlog::color_mode::always : spdlog::color_mode::never);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("qjl", sink));
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<ShownMessage>('*').set_pattern("%^%l%$ %*");
  spdlog::set_formatter(std::move(formatter));
  spdlog::set_level(spdlog::level::warn);
}

// One line whatever the log level: a failure is never silent.
Exit report(const char* what, Exit code) {
  std::cout.flush();
  std::fprintf(stderr, "qjl: %s\n", one_line(what).c_str());
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
    return report("out of memory; a context (-c) of fewer tokens takes less", Exit::failure);
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
  catch_lost_files();
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
  } catch (const Usage& error) {
    return report(error.what(), Exit::usage);
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
