// Any bytes as a saved cache: refused as a bad file, or loaded into a cache that goes on and saves to a file that loads the same.
//
// The first byte asks for zeros, 512 bytes each, behind the rest; both are the file. So tensors of some size need no long input.
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "fuzz_input.hpp"
#include "qjl/attention.hpp"
#include "qjl/cache_file.hpp"
#include "qjl/error.hpp"

using namespace qjl;

namespace {

constexpr std::size_t kMostTokens = 2000, kMostNumbers = 100'000;

// A file in memory, by a path that others may open.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : file_(memfd_create("fuzz", MFD_CLOEXEC)) {
    qjl_fuzz::require(file_ >= 0 && write(file_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()), "memory");
  }
  ~MemoryFile() { close(file_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

void attend_once(const KvCache& cache, SequenceId sequence) {
  const CacheConfig& config = cache.config();
  const auto numbers = static_cast<std::size_t>(config.num_kv_heads) * static_cast<std::size_t>(config.head_dim);
  const std::vector<float> queries(numbers, 0.5F);
  std::vector<float> out(numbers);
  AttendRequest request;
  request.sequence = sequence;
  request.queries = TensorView::contiguous(queries.data(), DType::f32, config.num_kv_heads, 1, config.head_dim);
  request.out = OutputView::contiguous(out.data(), config.num_kv_heads, 1, config.head_dim);
  AttendPlan plan;
  for (int layer = 0; layer < config.num_layers; ++layer) attend(cache, layer, {&request, 1}, {}, plan);
}

void use(const CacheFile& file) {
  const CacheConfig& config = file.config();
  LoadedCache loaded = file.load();
  const auto numbers = static_cast<std::size_t>(config.num_layers * config.num_kv_heads * config.head_dim);
  if (numbers > kMostNumbers) return;  // no fault, only slow
  for (std::size_t i = 0; i < loaded.sequences.size(); ++i) {
    qjl_fuzz::require(loaded.cache->num_tokens(loaded.sequences[i]) == file.num_tokens()[i], "the tokens that the file tells");
    if (file.num_tokens()[i] > 0 && file.num_tokens()[i] < static_cast<std::int64_t>(kMostTokens)) {
      attend_once(*loaded.cache, loaded.sequences[i]);
    }
  }
  const std::string again = (std::filesystem::temp_directory_path() / ("cache_file_fuzz" + std::to_string(getpid()))).string();
  save_cache(again, *loaded.cache, loaded.sequences, file.info());
  qjl_fuzz::require(CacheFile(again).num_tokens() == file.num_tokens(), "what was loaded is saved again");
  std::filesystem::remove(again);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  bytes.resize(bytes.size() + std::size_t{data[0]} * 512);
  const MemoryFile file(bytes);
  try {
    use(CacheFile(file.path()));
  } catch (const Error& error) {
    qjl_fuzz::require(error.kind() == ErrorKind::bad_file, "a bad text is a bad file");
  }
  return 0;
}
