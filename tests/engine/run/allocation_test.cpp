// A decode step takes nothing from the heap once its scratch has grown: the operators new of this program count every call.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "model.hpp"
#include "tiny_model.hpp"

namespace {
std::atomic<std::int64_t> num_allocations{0};

void* count_and_allocate(std::size_t bytes, std::size_t alignment) {
  ++num_allocations;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(std::size_t bytes) { return count_and_allocate(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return count_and_allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace qjl::engine::test {
namespace {

void check_steps(const TinyModel& tiny, Arithmetic arithmetic) {
  const std::vector<std::byte> bytes = tiny.bytes(TinyModel::Matrices::q8_0);
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  ThreadPool threads(2);
  KvCache cache(model.cache_config(codec_config("k3v2"), 512));
  const SequenceId sequence = cache.create();
  const std::vector<Token> prompt(150, 7);
  const auto run = [&](std::span<const Token> ids) {
    const ForwardItem item{sequence, ids};
    const ForwardOptions options{.arithmetic = arithmetic, .observe_kv = {}};
    return model.forward(cache, {&item, 1}, options, threads);
  };
  run(prompt);
  const Token token = 5;
  for (int i = 0; i < 5; ++i) run({&token, 1});
  const std::int64_t before = num_allocations;
  for (int i = 0; i < 50; ++i) run({&token, 1});  // tokens 155 to 204: no page is sealed
  EXPECT_EQ(num_allocations - before, 0) << "in 50 steps";
  run(prompt);
  EXPECT_GT(num_allocations - before, 0) << "the counter counts";
}

TEST(Allocation, NoBufferInAnExactDecodeStep) { check_steps(TinyModel(), Arithmetic::exact); }
TEST(Allocation, NoBufferInAFastDecodeStep) { check_steps(TinyModel(), Arithmetic::fast); }
TEST(Allocation, NoBufferWhereLayersKeepAState) { check_steps(TinyModel::qwen35(), Arithmetic::fast); }

}  // namespace
}  // namespace qjl::engine::test
