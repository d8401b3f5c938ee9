// Runs one rival on raw numbers, for tests/python; checks nothing.
//
//   rivals_probe code TYPE SHAPE IN OUT       SHAPE: layers,heads,dim,tokens,layer; IN: fp32 keys then values [heads, tokens, dim];
//                                             the whole is the prompt, then every page of 128 is coded; prints bits_sealed
//   rivals_probe matrix KIND ROWS DIM SEED OUT    KIND: gaussian, rotation, orthogonal; fp32 [rows, dim]
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "random_matrix.hpp"
#include "rival.hpp"

namespace {

using namespace qjl;
using namespace qjl::engine;

std::vector<float> read_numbers(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto* numbers = reinterpret_cast<const float*>(bytes.data());
  return {numbers, numbers + bytes.size() / sizeof(float)};
}

void write_numbers(const char* path, const std::vector<float>& numbers) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(numbers.data()), static_cast<std::streamsize>(numbers.size() * sizeof(float)));
}

void code(char** argv) {
  int layers = 0, heads = 0, dim = 0, tokens = 0, layer = 0;
  char comma = 0;
  std::istringstream(argv[3]) >> layers >> comma >> heads >> comma >> dim >> comma >> tokens >> comma >> layer;
  ModelConfig model;
  model.num_layers = layers;
  model.num_kv_heads = heads;
  model.head_dim = dim;
  model.layers.resize(static_cast<std::size_t>(layers));
  for (LayerShape& shape : model.layers) shape.rope.dimensions = dim;
  Rival rival(argv[2], model);
  std::vector<float> numbers = read_numbers(argv[4]);
  const std::size_t side = numbers.size() / 2;
  rival.learn(layer, TensorView::contiguous(numbers.data(), DType::f32, heads, tokens, dim),
              TensorView::contiguous(numbers.data() + side, DType::f32, heads, tokens, dim));
  const std::int64_t block = std::int64_t{kTokensPerPage} * dim;
  std::vector<float> page(static_cast<std::size_t>(2 * heads * block));
  for (std::int64_t first = 0; first + kTokensPerPage <= tokens; first += kTokensPerPage) {
    const auto place = [&](int row) { return numbers.begin() + (std::int64_t{row} * tokens + first) * dim; };
    for (int row = 0; row < 2 * heads; ++row) std::copy_n(place(row), block, page.begin() + row * block);
    const std::span<float> all(page);
    rival.code({layer, first, all.first(page.size() / 2), all.last(page.size() / 2)});
    for (int row = 0; row < 2 * heads; ++row) std::copy_n(page.begin() + row * block, block, place(row));
  }
  write_numbers(argv[5], numbers);
  std::cout << rival.bits_sealed() << "\n";
}

void write_matrix(char** argv) {
  const std::string kind = argv[2];
  const int rows = std::stoi(argv[3]), dim = std::stoi(argv[4]);
  const std::uint64_t seed = std::stoull(argv[5]);
  write_numbers(argv[6], kind == "gaussian"   ? rivals::gaussian_matrix(rows, dim, seed).numbers
                         : kind == "rotation" ? rivals::rotation_matrix(dim, seed).numbers
                                              : rivals::orthogonal_rows(rows, dim, seed).numbers);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string mode = argc > 1 ? argv[1] : "";
    if (mode == "code" && argc == 6) {
      code(argv);
    } else if (mode == "matrix" && argc == 7) {
      write_matrix(argv);
    } else {
      std::cerr << "usage: rivals_probe code TYPE SHAPE IN OUT | matrix KIND ROWS DIM SEED OUT\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
