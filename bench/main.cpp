// qjl_bench: times the kernels through the public doors, beside exact rivals and the memory's own speed, in one process.
//
//   qjl_bench quick [--json FILE]      the ratios of the targets, under a minute
//
// Figures mean something on a quiet machine only: nothing else may run. Progress goes to standard error, JSON to standard output.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "exact_rival.hpp"
#include "quick.hpp"
#include "report.hpp"

namespace qjl::bench {

void write_text(const std::string& file, const std::string& text) {
  if (file.empty() || file == "-") {
    std::cout << text << std::flush;
    return;
  }
  const std::string part = file + ".part";
  std::ofstream(part) << text;
  if (std::rename(part.c_str(), file.c_str()) != 0) throw std::runtime_error("[bench] cannot write " + file);
}

namespace {

using Action = std::function<void()>;

Action add_quick(CLI::App& program) {
  auto options = std::make_shared<QuickOptions>();
  auto file = std::make_shared<std::string>();
  CLI::App* verb = program.add_subcommand("quick", "the ratios of the targets, in one interleaved run");
  verb->add_option("--json", *file, "a file for the report, beside standard output");
  verb->add_option("--tokens", options->tokens, "context, a multiple of 128")->capture_default_str();
  verb->add_option("--kv-heads", options->kv_heads)->capture_default_str();
  verb->add_option("--seconds", options->seconds, "of timed rounds")->capture_default_str();
  return [=] {
    if (!verb->parsed()) return;
    const std::string report = quick_report(*options).dump(1) + "\n";
    std::cout << report << std::flush;
    if (!file->empty()) write_text(*file, report);
  };
}

int run(int argc, char** argv) {
  CLI::App program("times qjl's kernels beside exact rivals and memory reads");
  program.require_subcommand(1);
  const Action actions[] = {add_quick(program)};
  CLI11_PARSE(program, argc, argv);
  for (const auto& action : actions) action();
  return 0;
}

}  // namespace
}  // namespace qjl::bench

int main(int argc, char** argv) {
  try {
    return qjl::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
