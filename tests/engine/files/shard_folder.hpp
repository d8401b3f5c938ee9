// A model in three files, and a folder for damaged ones.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gguf_builder.hpp"

namespace qjl_test {

inline constexpr std::uint16_t kShards = 3;

// Two tensors in each file; the first has the keys of the model.
inline Bytes shard(std::uint16_t number) {
  GgufBuilder out;
  if (number == 0) out.text("general.architecture", "llama").text("general.name", "parts");
  out.number<std::uint16_t>("split.no", 2, number).number<std::uint16_t>("split.count", 2, kShards);
  out.number<std::int32_t>("split.tensors.count", 5, 2 * kShards);
  for (const char* name : {"a", "b"}) out.tensor(name + std::to_string(number), {32, 2}, 8, counting_bytes(68));
  return out.build();
}

// Of this process, removed with it.
class ShardFolder {
 public:
  ShardFolder() { std::filesystem::create_directories(path_); }
  ~ShardFolder() { std::filesystem::remove_all(path_); }
  ShardFolder(const ShardFolder&) = delete;
  ShardFolder& operator=(const ShardFolder&) = delete;

  std::filesystem::path file(std::size_t number) const {
    return path_ / ("m-0000" + std::to_string(number + 1) + "-of-0000" + std::to_string(kShards) + ".gguf");
  }
  void write(std::size_t number, const Bytes& bytes) const {
    std::filesystem::remove(file(number));  // a file that is cut and written again is sent to the disk by some systems
    std::ofstream(file(number), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  std::filesystem::path path_ = std::filesystem::temp_directory_path() / ("qjl_damaged_shards_" + std::to_string(::getpid()));
};

}  // namespace qjl_test
