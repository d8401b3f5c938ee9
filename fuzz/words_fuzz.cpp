// Any words on the command line, one a line: parsed or refused by CLI11; then the cache types among them are read, or refused as
// wrong usage or a file that cannot be read. No verb runs.
#include <algorithm>
#include <sstream>

#include "cache_list.hpp"
#include "fuzz_input.hpp"
#include "options.hpp"
#include "qjl/error.hpp"
#include "verbs.hpp"

using namespace qjl::cli;

namespace {

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) words.push_back(line.substr(0, line.find('\0')));
  return words;
}

std::vector<std::string> spelt_out(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"qjl"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return spell_out_short_words(static_cast<int>(argv.size()), argv.data());
}

void parse(std::vector<std::string> words) {
  CLI::App program{"fuzz", "qjl"};
  program.require_subcommand(1);
  const Verb verbs[] = {add_run(program),  add_chat(program), add_serve(program), add_eval(program),
                        add_plan(program), add_info(program), add_study(program), add_inspect(program)};
  std::reverse(words.begin(), words.end());
  try {
    program.parse(std::move(words));
    const auto parsed = std::count_if(std::begin(verbs), std::end(verbs), [](const Verb& verb) { return verb.command->parsed(); });
    qjl_fuzz::require(parsed >= 1, "a verb was chosen");
  } catch (const CLI::ParseError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string> words = words_of({reinterpret_cast<const char*>(data), size});
  try {
    const std::vector<std::string> spelt = spelt_out(words);
    qjl_fuzz::require(spelt.size() == words.size(), "no word is lost");
    parse(spelt);
  } catch (const Usage&) {  // a dash and letters that are no option
  }
  try {
    qjl_fuzz::require(cache_list(words).size() <= words.size(), "a list does not grow");
  } catch (const Usage&) {
  } catch (const qjl::Error& error) {
    qjl_fuzz::require(error.kind() == qjl::ErrorKind::io || error.kind() == qjl::ErrorKind::bad_file, "a plan is a file");
  }
  return 0;
}
