// Any bytes as a model in three GGUF files, each from one "GGUF" to the next: opened with all tensors inside their files, or refused
// with a qjl::Error.
#include <algorithm>
#include <string_view>

#include "fuzz_input.hpp"
#include "gguf.hpp"
#include "qjl/error.hpp"
#include "shard_folder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const qjl_test::ShardFolder folder;
  constexpr std::string_view kMagic = "GGUF";
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (std::size_t i = 0; i < qjl_test::kShards; ++i) {
    const std::size_t next = i + 1 < qjl_test::kShards ? rest.find(kMagic, kMagic.size()) : rest.npos;
    const auto part = std::as_bytes(std::span(rest.substr(0, next)));
    folder.write(i, {part.begin(), part.end()});
    rest.remove_prefix(std::min(next, rest.size()));
  }
  try {
    const auto file = qjl::engine::GgufFile::open(folder.file(0));
    int sum = 0;
    for (const auto& tensor : file.tensors()) {  // both ends are touched
      if (!tensor.data.empty()) sum += static_cast<int>(tensor.data.front()) + static_cast<int>(tensor.data.back());
    }
    qjl_fuzz::require(sum >= 0, "bytes are no less than 0");
  } catch (const qjl::Error&) {
  }
  return 0;
}
