// Heads whose keys and values are of different widths: the same logits as from a model that has the missing numbers as zeros.
#include <gtest/gtest.h>

#include <cmath>

#include "model.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "qjl/threads.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {
namespace {

constexpr std::int64_t kHidden = 128, kHeads = 2, kWide = 64, kNarrow = 32;

std::vector<float> logits_of(const TinyModel& tiny, std::int64_t chunk, const char* type = "k3v2") {
  const std::vector<std::byte> bytes = tiny.bytes();
  Model model = Model::load(parse_model_file(bytes, "tiny"));
  KvCache cache(model.cache_config(codec_config(type), 256));
  const SequenceId sequence = cache.create();
  ThreadPool threads(2);
  std::vector<Token> tokens;
  for (int i = 0; i < 200; ++i) tokens.push_back(i * 7 % 96);
  std::vector<float> all;
  for (std::int64_t begin = 0; begin < std::ssize(tokens); begin += chunk) {
    const auto part = std::span(tokens).subspan(static_cast<std::size_t>(begin));
    const ForwardItem item{sequence, part.first(std::min<std::size_t>(part.size(), static_cast<std::size_t>(chunk)))};
    ForwardOptions options;
    options.logits = ForwardOptions::Logits::all;
    const std::span<const float> logits = model.forward(cache, {&item, 1}, options, threads);
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

TEST(HeadWidths, NarrowValuesAreValuesWithZeros) {
  TinyModel narrow, wide;
  narrow.keys["llama.attention.key_length"] = static_cast<std::uint32_t>(kWide);
  narrow.keys["llama.attention.value_length"] = static_cast<std::uint32_t>(kNarrow);
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    narrow.matrix(layer + "attn_v.weight", kNarrow, kHidden, 1.0);
    narrow.matrix(layer + "attn_output.weight", kHidden, kHeads * kNarrow, 1.0);
    TinyTensor &value = wide.tensors[layer + "attn_v.weight"], &output = wide.tensors[layer + "attn_output.weight"];
    value.numbers = narrow.tensors[layer + "attn_v.weight"].numbers;
    value.numbers.resize(kWide * kHidden, 0.0f);
    const std::vector<float>& columns = narrow.tensors[layer + "attn_output.weight"].numbers;
    for (std::int64_t r = 0; r < kHidden; ++r) {
      for (std::int64_t c = 0; c < kHeads * kWide; ++c) {
        const std::int64_t head = c / kWide, channel = c % kWide;
        output.numbers[static_cast<std::size_t>(r * kHeads * kWide + c)] =
            channel < kNarrow ? columns[static_cast<std::size_t>((r * kHeads + head) * kNarrow + channel)] : 0.0f;
      }
    }
  }
  for (const std::int64_t chunk : {200, 60, 1}) {
    const std::vector<float> found = logits_of(narrow, chunk), wanted = logits_of(wide, chunk);
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], 2e-4) << "chunk " << chunk << ", number " << i;
  }
}

// Rows of `from` [heads * kWide, columns] times `gain`, the rest of each head of `width` rows zero.
TinyTensor widened(const TinyTensor& from, std::int64_t heads, std::int64_t width, float gain) {
  const std::int64_t columns = from.shape[1];
  TinyTensor to{{heads * width, columns}, std::vector<float>(static_cast<std::size_t>(heads * width * columns), 0.0f)};
  for (std::int64_t i = 0; i < heads * kWide * columns; ++i) {
    const std::int64_t head = i / (kWide * columns), place = i % (kWide * columns);
    to.numbers[static_cast<std::size_t>(head * width * columns + place)] = gain * from.numbers[static_cast<std::size_t>(i)];
  }
  return to;
}

// A model of 64 channels a head, and the same with zeros up to a width that no code has frames for. Products of other shapes add in
// another order, so that keys may round to 16 bits otherwise: logits differ by less than 2^-8 (derived in forward_test.cpp).
TEST(HeadWidths, WiderThanCodesStaysExact) {
  const TinyModel narrow;
  for (const std::int64_t width : {264, 512}) {
    TinyModel wide;
    for (const char* key : {"llama.attention.key_length", "llama.attention.value_length"})
      wide.keys[key] = static_cast<std::uint32_t>(width);
    wide.keys["llama.rope.dimension_count"] = static_cast<std::uint32_t>(kWide);
    const float gain = std::sqrt(static_cast<float>(width) / static_cast<float>(kWide));  // scores are over the root of the width
    for (const std::string layer : {"blk.0.", "blk.1."}) {
      wide.tensors[layer + "attn_q.weight"] = widened(narrow.tensors.at(layer + "attn_q.weight"), kHeads, width, gain);
      for (const char* name : {"attn_k.weight", "attn_v.weight"})
        wide.tensors[layer + name] = widened(narrow.tensors.at(layer + name), 1, width, 1.0f);
      const TinyTensor& output = narrow.tensors.at(layer + "attn_output.weight");
      TinyTensor& columns = wide.tensors[layer + "attn_output.weight"] = {{kHidden, kHeads * width}, {}};
      columns.numbers.assign(static_cast<std::size_t>(kHidden * kHeads * width), 0.0f);
      for (std::int64_t i = 0; i < kHidden * kHeads * kWide; ++i) {
        const std::int64_t head = i / kWide;  // of all rows
        columns.numbers[static_cast<std::size_t>(head * width + i % kWide)] = output.numbers[static_cast<std::size_t>(i)];
      }
    }
    for (const std::int64_t chunk : {200, 60, 1}) {
      const std::vector<float> found = logits_of(wide, chunk, "f16"), wanted = logits_of(narrow, chunk, "f16");
      ASSERT_EQ(found.size(), wanted.size());
      for (std::size_t i = 0; i < found.size(); ++i)
        ASSERT_NEAR(found[i], wanted[i], 1.0 / 256) << width << ", chunk " << chunk << ", " << i;
    }
    try {
      logits_of(wide, 200);
      FAIL() << "codes have no frames of that width";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("of f16 any multiple of 16 from 32 to 512"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace qjl::engine::test
