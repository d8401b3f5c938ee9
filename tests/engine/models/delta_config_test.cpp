// What a file says of layers that keep a state, and its errors.
#include "tiny_config.hpp"

namespace qjl::engine::test {
namespace {

std::vector<bool> keeps_state(const TinyModel& tiny) {
  std::vector<bool> each;
  for (const LayerShape& layer : config_of(tiny).layers) each.push_back(layer.keeps_state);
  return each;
}

TEST(DeltaConfig, ReadsWhatIsThere) {
  const ModelConfig c = config_of(TinyModel::qwen35());
  EXPECT_EQ(keeps_state(TinyModel::qwen35()), (std::vector{true, false}));
  EXPECT_EQ(c.num_cached_layers(), 1);
  EXPECT_EQ(&c.cached_layer(0), &c.layers[1]);
  EXPECT_EQ(c.delta.kernel, 4);
  EXPECT_EQ(c.delta.key_heads, 2);
  EXPECT_EQ(c.delta.value_heads, 4);
  EXPECT_EQ(c.delta.value_dim, 24);
  EXPECT_EQ(c.delta.key_head(1), 1) << "in turns";
  EXPECT_EQ(c.delta.key_head(2), 0);
  EXPECT_EQ(c.recurrent_numbers(), 3 * 160 + 4 * 16 * 24);
  EXPECT_EQ(c.layers[1].rope.dimensions, 16);
  EXPECT_TRUE(c.warnings.empty());
}

TEST(DeltaConfig, LayersByAPeriod) {
  TinyModel tiny = TinyModel::qwen35();
  tiny.keys["qwen35.block_count"] = 4u;
  tiny.keys["qwen35.full_attention_interval"] = 3u;
  EXPECT_EQ(keeps_state(tiny), (std::vector{true, true, false, true}));
}

TEST(DeltaConfig, LayersByAList) {
  TinyModel tiny = TinyModel::qwen35();
  tiny.keys["qwen35.attention.recurrent_layers"] = std::vector<std::int32_t>{1, 0};
  tiny.keys["qwen35.full_attention_interval"] = 1u;
  EXPECT_EQ(keeps_state(tiny), (std::vector{true, false}));
  tiny.keys["qwen35.attention.recurrent_layers"] = std::vector<std::int32_t>{1};
  expect_error(tiny, ErrorKind::bad_file, {"attention.recurrent_layers", "1", "wanted 2"});
  tiny.keys["qwen35.attention.recurrent_layers"] = std::vector<std::int32_t>{1, 1};
  expect_error(tiny, ErrorKind::bad_file, {"the number of layers that attend is 0"});
}

// A block at the end that guesses tokens further ahead is left out, with its tensors.
TEST(DeltaConfig, GuessingBlocksAreLeftOut) {
  TinyModel tiny = TinyModel::qwen35();
  tiny.keys["qwen35.block_count"] = 3u;
  expect_error(tiny, ErrorKind::bad_file, {"blk.2."});
  tiny.keys["qwen35.nextn_predict_layers"] = 1u;
  tiny.matrix("blk.2.nextn.eh_proj.weight", 128, 256, 1.0);
  const ModelConfig c = config_of(tiny);
  EXPECT_EQ(c.num_layers, 2);
  const std::vector<std::byte> bytes = tiny.bytes();
  EXPECT_NO_THROW(Model::load(parse_model_file(bytes, "tiny")));
  tiny.matrix("blk.3.attn_q.weight", 128, 128, 1.0);
  expect_error(tiny, ErrorKind::unsupported, {"blk.3.attn_q.weight"});
  tiny.keys["qwen35.nextn_predict_layers"] = 3u;
  expect_error(tiny, ErrorKind::bad_file, {"nextn_predict_layers", "3", "1 to 2"});
}

TEST(DeltaConfig, BadNumbers) {
  for (const auto& [name, number, word] : {std::tuple{"ssm.inner_size", 97u, "4 heads of the same width"},
                                           {"ssm.group_count", 3u, "a multiple of the 3 key heads"},
                                           {"ssm.conv_kernel", 65u, "1 to 64"},
                                           {"ssm.state_size", 4096u, "1 to 1024"},
                                           {"attention.value_length", 32u, "that of keys, 64"}}) {
    TinyModel tiny = TinyModel::qwen35();
    tiny.keys[std::string("qwen35.") + name] = number;
    expect_error(tiny, ErrorKind::bad_file, {word});
  }
  for (const char* name : {"ssm.conv_kernel", "ssm.state_size", "ssm.group_count", "ssm.time_step_rank", "ssm.inner_size"}) {
    TinyModel tiny = TinyModel::qwen35();
    tiny.keys.erase(std::string("qwen35.") + name);
    expect_error(tiny, ErrorKind::bad_file, {name});
  }
  TinyModel other;  // a family without such layers
  other.keys["llama.ssm.state_size"] = 16u;
  expect_error(other, ErrorKind::unsupported, {"llama.ssm.state_size"});
  TinyModel biased = TinyModel::qwen35();
  biased.tensors["blk.1.attn_q.bias"] = {{256}, std::vector(256, 1.0f)};
  expect_error(biased, ErrorKind::unsupported, {"blk.1.attn_q.bias"});
  TinyModel mute = TinyModel::qwen35();
  mute.tensors.erase("blk.0.ssm_a");
  expect_error(mute, ErrorKind::bad_file, {"blk.0.ssm_a"});
}

}  // namespace
}  // namespace qjl::engine::test
