// Decodes stored blocks, for tests/python:  quants_probe TYPE BLOCKS OUT   (TYPE: ggml's number; OUT: fp32)
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "quants.hpp"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: quants_probe TYPE BLOCKS OUT\n";
    return 2;
  }
  const auto type = static_cast<qjl::engine::WeightType>(std::stoul(argv[1]));
  std::ifstream file(argv[2], std::ios::binary);
  const std::string blocks{std::istreambuf_iterator<char>(file), {}};
  const auto count = std::ssize(blocks) / qjl::engine::block_bytes(type) * qjl::engine::block_numbers(type);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  qjl::engine::dequantize(type, reinterpret_cast<const std::byte*>(blocks.data()), count, numbers.data());
  std::ofstream(argv[3], std::ios::binary)
      .write(reinterpret_cast<const char*>(numbers.data()), static_cast<std::streamsize>(numbers.size() * 4));
  return 0;
}
