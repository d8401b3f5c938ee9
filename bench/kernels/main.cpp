// qjl_bench: times the kernels through the public doors, beside exact rivals and the memory's own speed, in one process.
//
//   qjl_bench quick [--json FILE]      the ratios of the targets, under a minute
//   qjl_bench kernels --out FILE       attention and encoding over shapes, contexts, cache types, threads: JSON lines; resumes
//   qjl_bench codes                    code beside code: attention, encoding, the step that seals
//   qjl_bench paper --out FILE         time of encoding and decoding against context, one layer of Llama-2-7B and Llama-3-8B
//   qjl_bench serve                    attention on request, for drivers that time other programs in turn
//   qjl_bench machine                  what this is running on
//   qjl_bench cost                     bytes and instructions of a token by preset
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

#include "codes.hpp"
#include "cost.hpp"
#include "kernels.hpp"
#include "paper.hpp"
#include "quick.hpp"
#include "report.hpp"
#include "serve.hpp"

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

Action add_kernels(CLI::App& program) {
  auto options = std::make_shared<KernelsOptions>();
  CLI::App* verb = program.add_subcommand("kernels", "attention and encoding over shapes; one JSON line a measurement");
  verb->add_option("--out", options->file, "lines are added; what it has is not measured again")->required();
  verb->add_option("--head-dim", options->head_dims)->delimiter(',')->capture_default_str();
  verb->add_option("--group", options->groups, "query heads per kv head")->delimiter(',')->capture_default_str();
  verb->add_option("--tokens", options->tokens, "contexts")->delimiter(',')->capture_default_str();
  verb->add_option("--threads", options->threads)->delimiter(',')->capture_default_str();
  verb->add_option("--cache", options->caches, "cache types")->delimiter(',')->capture_default_str();
  verb->add_option("--kv-heads", options->kv_heads)->capture_default_str();
  verb->add_option("--seconds", options->seconds, "of rounds at each point")->capture_default_str();
  return [=] {
    if (verb->parsed()) run_kernels(*options);
  };
}

Action add_codes(CLI::App& program) {
  auto options = std::make_shared<CodesOptions>();
  CLI::App* verb = program.add_subcommand("codes", "attention, encoding and the step that seals, code beside code");
  verb->add_option("--cache", options->caches, "cache types")->delimiter(',')->capture_default_str();
  verb->add_option("--head-dim", options->head_dims)->delimiter(',')->capture_default_str();
  verb->add_option("--group", options->groups, "query heads per kv head")->delimiter(',')->capture_default_str();
  verb->add_option("--tokens", options->tokens, "context, a multiple of 128")->capture_default_str();
  verb->add_option("--kv-heads", options->kv_heads)->capture_default_str();
  verb->add_option("--seconds", options->seconds, "of timed rounds, a head_dim")->capture_default_str();
  return [=] {
    if (verb->parsed()) std::cout << codes_report(*options).dump(1) << "\n";
  };
}

Action add_paper(CLI::App& program) {
  auto options = std::make_shared<PaperOptions>();
  CLI::App* verb = program.add_subcommand("paper", "encoding and decoding against context; one JSON line a measurement");
  verb->add_option("--out", options->file, "lines are added; what it has is not measured again")->required();
  verb->add_option("--tokens", options->tokens, "contexts, multiples of 1024")->delimiter(',')->capture_default_str();
  verb->add_option("--cache", options->caches, "cache types")->delimiter(',')->capture_default_str();
  verb->add_option("--seconds", options->seconds, "of rounds at each context")->capture_default_str();
  return [=] {
    if (verb->parsed()) run_paper(*options);
  };
}

Action add_print(CLI::App& program, const char* name, const char* text, Json (*report)()) {
  CLI::App* verb = program.add_subcommand(name, text);
  return [=] {
    if (verb->parsed()) std::cout << report().dump(1) << "\n";
  };
}

Action add_serve(CLI::App& program) {
  CLI::App* verb = program.add_subcommand("serve", "one cold attention call for each JSON line of standard input");
  return [=] {
    if (verb->parsed()) serve_attention();
  };
}

int run(int argc, char** argv) {
  CLI::App program("times qjl's kernels beside exact rivals and memory reads");
  program.require_subcommand(1);
  const Action actions[] = {add_quick(program),
                            add_kernels(program),
                            add_codes(program),
                            add_paper(program),
                            add_print(program, "cost", "bytes and instructions of a token, by preset", cost_report),
                            add_print(program, "machine", "processor, caches, memory, compiler, instruction sets", machine_json),
                            add_serve(program)};
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
