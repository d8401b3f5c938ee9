// Prints what the engine computes, for tests/python.
//
//   engine_probe logits MODEL IDS OUT CACHE CHUNK   IDS: int32 tokens; OUT: fp32 [tokens, vocab]; CHUNK 0: one call
//   engine_probe greedy MODEL IDS COUNT CACHE       COUNT token ids after the prompt IDS, one a line
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "model.hpp"
#include "qjl/error.hpp"

namespace {

using namespace qjl;
using namespace qjl::engine;

std::vector<Token> read_ids(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto* ids = reinterpret_cast<const Token*>(bytes.data());
  return {ids, ids + bytes.size() / sizeof(Token)};
}

struct Runner {
  Model model;
  KvCache cache;
  SequenceId sequence;
  ThreadPool threads{2};

  Runner(const char* path, const std::string& cache_type, std::int64_t context)
      : model(Model::load(open_model_file(path), {.context = context})),
        cache(model.cache_config(codec_config(cache_type), context)),
        sequence(cache.create()) {}

  std::span<const float> forward(std::span<const Token> tokens, ForwardOptions::Logits logits) {
    const ForwardItem item{sequence, tokens};
    ForwardOptions options;
    options.logits = logits;
    return model.forward(cache, {&item, 1}, options, threads);
  }
};

void write_logits(char** argv) {
  const std::vector<Token> ids = read_ids(argv[3]);
  Runner runner(argv[2], argv[5], std::ssize(ids));
  const std::size_t chunk = std::stoul(argv[6]) == 0 ? ids.size() : std::stoul(argv[6]);
  std::ofstream out(argv[4], std::ios::binary);
  for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
    const auto part = std::span(ids).subspan(begin, std::min(chunk, ids.size() - begin));
    const std::span<const float> logits = runner.forward(part, ForwardOptions::Logits::all);
    out.write(reinterpret_cast<const char*>(logits.data()), static_cast<std::streamsize>(logits.size_bytes()));
  }
}

void print_greedy(char** argv) {
  const std::vector<Token> ids = read_ids(argv[3]);
  const int count = std::stoi(argv[4]);
  Runner runner(argv[2], argv[5], std::ssize(ids) + count);
  std::span<const float> logits = runner.forward(ids, ForwardOptions::Logits::last);
  for (int i = 0; i < count; ++i) {
    const auto token = static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    std::cout << token << "\n";
    if (i + 1 < count) logits = runner.forward({&token, 1}, ForwardOptions::Logits::last);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode == "logits" && argc == 7) {
      write_logits(argv);
    } else if (mode == "greedy" && argc == 6) {
      print_greedy(argv);
    } else {
      std::cerr << "usage: engine_probe logits MODEL IDS OUT CACHE CHUNK | greedy MODEL IDS COUNT CACHE\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
