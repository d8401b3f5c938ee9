// One PageCodec, several threads: each gets what it would get alone.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "qjl/codec.hpp"
#include "qjl/error.hpp"

namespace qjl::test {
namespace {

std::vector<float> numbers(std::size_t count, int period) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(static_cast<int>(i) % period) - 8.0f;
  return out;
}

TEST(PageCodecThreads, EachGetsWhatItWouldGetAlone) {
  const PageCodec codec(64, codec_config("k3v2"));
  const std::vector<float> rows = numbers(128 * 64, 17), queries = numbers(256 * 64, 23);
  const auto view = [](const std::vector<float>& of, std::int64_t tokens) {
    return TensorView::contiguous(of.data(), DType::f32, 1, tokens, 64);
  };
  const EncodedPage page = codec.encode(view(rows, 128), view(rows, 128));
  const std::vector<float> wanted = codec.score(view(queries, 256), page);
  std::atomic<int> wrong{0};
  const auto work = [&] {
    for (int i = 0; i < 50; ++i) {
      try {
        wrong += codec.score(view(queries, 256), page) != wanted;
        wrong += codec.encode(view(rows, 128), view(rows, 128)).body != page.body;
        wrong += codec.decode_keys(page).size() != rows.size();
      } catch (const Error&) {
        ++wrong;
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace qjl::test
