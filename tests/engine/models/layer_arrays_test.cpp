// Keys that hold an array, a number for each layer: followed where layers may differ, refused by name where they may not.
#include <gtest/gtest.h>

#include "model_config.hpp"
#include "qjl/error.hpp"
#include "tiny_config.hpp"

namespace qjl::engine::test {
namespace {

using Numbers = std::vector<std::int32_t>;

TEST(LayerArrays, WidthsOfFeedForward) {
  TinyModel tiny;
  EXPECT_EQ(config_of(tiny).layers[1].feed_forward, 192);
  tiny.keys["llama.feed_forward_length"] = Numbers{192, 320};
  for (const char* name : {"blk.1.ffn_gate.weight", "blk.1.ffn_up.weight"}) tiny.matrix(name, 320, 128, 1.0);
  tiny.matrix("blk.1.ffn_down.weight", 128, 320, 1.0);
  const std::vector<std::byte> bytes = tiny.bytes();
  const Model model = Model::load(parse_model_file(bytes, "tiny"));  // tensors have these shapes
  EXPECT_EQ(model.config().layers[0].feed_forward, 192);
  EXPECT_EQ(model.config().layers[1].feed_forward, 320);
}

// A window's layers keep widths of their own.
TEST(LayerArrays, WidthsBesideWindows) {
  TinyModel tiny = TinyModel::gemma3();
  tiny.keys["gemma3.feed_forward_length"] = Numbers{64, 96};
  const ModelConfig c = config_of(tiny);
  EXPECT_EQ(c.layers[0].feed_forward, 64);
  EXPECT_EQ(c.layers[1].feed_forward, 96);
  EXPECT_EQ(c.layers[0].window, 32);
  EXPECT_EQ(c.layers[1].window, 0);
}

TEST(LayerArrays, HeadsAreTheSameInAllLayers) {
  TinyModel tiny;
  tiny.keys["llama.attention.head_count"] = Numbers{2, 2};
  tiny.keys["llama.attention.head_count_kv"] = Numbers{1, 1};
  EXPECT_EQ(config_of(tiny).num_heads, 2);
  EXPECT_EQ(config_of(tiny).num_kv_heads, 1);
  tiny.keys["llama.attention.head_count"] = Numbers{2, 4};
  expect_error(tiny, ErrorKind::unsupported, {"llama.attention.head_count", "2 in layer 0", "4 in layer 1", "same in all layers"});
  tiny.keys["llama.attention.head_count"] = 2u;
  tiny.keys["llama.attention.head_count_kv"] = Numbers{1, 2};
  expect_error(tiny, ErrorKind::unsupported, {"llama.attention.head_count_kv", "1 in layer 0", "2 in layer 1"});
}

TEST(LayerArrays, RefusesOtherLengthsAndNumbersOutOfRange) {
  for (const char* name : {"feed_forward_length", "attention.head_count", "attention.head_count_kv"}) {
    TinyModel tiny;
    const std::string key = std::string("llama.") + name;
    tiny.keys[key] = Numbers{1, 1, 1};
    expect_error(tiny, ErrorKind::bad_file, {"the length of " + key, "3", "2, one for a layer"});
    tiny.keys[key] = Numbers{};
    expect_error(tiny, ErrorKind::bad_file, {"the length of " + key, "0"});
    tiny.keys[key] = Numbers{1, 0};  // a layer without attention or without a feed-forward part
    expect_error(tiny, ErrorKind::bad_file, {key + " of layer 1", "0", "1 to "});
  }
}

TEST(LayerArrays, WindowsByLayer) {
  TinyModel tiny("gemma2");
  tiny.keys["gemma2.attention.sliding_window"] = 40u;
  tiny.keys["gemma2.attention.sliding_window_pattern"] = Numbers{0, 1};
  EXPECT_EQ(config_of(tiny).layers[0].window, 0);
  EXPECT_EQ(config_of(tiny).layers[1].window, 40);
  tiny.keys["gemma2.attention.sliding_window_pattern"] = Numbers{0, 1, 1};
  expect_error(tiny, ErrorKind::bad_file, {"gemma2.attention.sliding_window_pattern", "3", "2"});
}

// Layers with a window turn as many channels as the others.
TEST(LayerArrays, ChannelsThatTurnInAWindow) {
  TinyModel tiny("gemma2");
  tiny.keys["gemma2.attention.sliding_window"] = 40u;
  tiny.keys["gemma2.rope.dimension_count_swa"] = 64u;
  EXPECT_EQ(config_of(tiny).layers[0].rope.dimensions, 64);
  tiny.keys["gemma2.rope.dimension_count_swa"] = 32u;
  expect_error(tiny, ErrorKind::unsupported, {"gemma2.rope.dimension_count_swa", "32", "64"});
}

}  // namespace
}  // namespace qjl::engine::test
