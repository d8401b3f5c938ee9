// Any bytes as an array of NumPy and as cases of questions: read, or refused as a bad file.
#include "fuzz_input.hpp"
#include "npy.hpp"
#include "qjl/error.hpp"
#include "retrieval_cases.hpp"

using qjl_fuzz::require;

namespace {

template <typename Read>
void read_or_refuse(const Read& read) {
  try {
    read();
  } catch (const qjl::Error& error) {
    require(error.kind() == qjl::ErrorKind::bad_file, "bad bytes are a bad file");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  read_or_refuse([&] {
    const qjl::cli::NpyArray array = qjl::cli::parse_npy(text, "fuzz");
    std::int64_t count = 1;
    for (const std::int64_t extent : array.shape) count *= extent;
    require(count == std::ssize(array.numbers), "the shape counts the numbers");
  });
  read_or_refuse([&] {
    for (const auto& one : qjl::cli::read_cases(text, "fuzz")) {
      one["case"].dump();
      for (const auto& asked : one["questions"]) {
        for (const char* key : {"question", "prefix", "answer"}) asked[key].get<std::string>();
      }
    }
  });
  return 0;
}
