// Three layouts, each [experts, ...]:
//
//   gate_up_proj, input_linear   [2 width, hidden]: gate above up, so that each is a stretch of rows       as they are
//   by columns (gpt-oss)         [hidden, 2 width]: columns gate, up, gate, up ...; down [width, hidden]    turned round
//   blocks and scales (MXFP4)    rows gate, up, gate, up ...; a row is blocks of 32 codes and their power   put together anew
//
// A block of MXFP4: Hugging Face has numbers 2 i and 2 i + 1 in byte i, GGUF has i and i + 16 (the scale before them).
#include "hf_experts.hpp"

#include <cstring>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kBlock = 32, kCodeBytes = kBlock / 2;
using Bytes = std::vector<std::byte>;

std::int64_t extent(const SafeTensor& tensor, std::size_t dimensions, std::size_t i) {
  if (tensor.shape.size() == dimensions) return tensor.shape[i];
  throw Error(ErrorKind::bad_file, "[safetensors] " + printable(tensor.name) + " has " + std::to_string(tensor.shape.size()) +
                                       " dimensions, wanted " + std::to_string(dimensions));
}

void want_even(const SafeTensor& tensor, std::int64_t rows) {
  if (rows % 2 == 0) return;
  throw Error(ErrorKind::bad_file, "[safetensors] " + printable(tensor.name) + " has " + std::to_string(rows) +
                                       " rows or columns, wanted an even number");
}

class ExpertReader {
 public:
  ExpertReader(std::string layer, std::vector<Bytes>& made, const std::function<void(FileTensor)>& add)
      : layer_(std::move(layer)), made_(made), add_(add) {}

  void add_rows(const SafeTensor& both);                     // gate above up
  void add_turned(const SafeTensor& columns, bool is_both);  // by columns
  void add_biases(const SafeTensor& biases);                 // gate, up, gate, up ...
  void add_blocks(const SafeTensor& blocks, const SafeTensor& scales, bool is_both);
  void add_as_it_is(const SafeTensor& tensor, const char* name) {
    add_({layer_ + name, weight_type_of(tensor), tensor.shape, tensor.data});
  }

 private:
  void add_made(const char* name, WeightType type, std::vector<std::int64_t> shape, Bytes bytes) {
    made_.push_back(std::move(bytes));
    add_({layer_ + name, type, std::move(shape), made_.back()});
  }

  std::string layer_;
  std::vector<Bytes>& made_;
  const std::function<void(FileTensor)>& add_;
};

void ExpertReader::add_rows(const SafeTensor& both) {
  const std::int64_t experts = extent(both, 3, 0), rows = extent(both, 3, 1), columns = extent(both, 3, 2);
  want_even(both, rows);
  const WeightType type = weight_type_of(both);
  const std::size_t half = both.data.size() / static_cast<std::size_t>(experts) / 2;
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::string ending = "." + std::to_string(e) + ".weight";
    const auto gate = both.data.subspan(static_cast<std::size_t>(2 * e) * half, half);
    add_({layer_ + "ffn_gate" + ending, type, {rows / 2, columns}, gate});
    add_({layer_ + "ffn_up" + ending,
          type,
          {rows / 2, columns},
          both.data.subspan(static_cast<std::size_t>(2 * e + 1) * half, half)});
  }
}

// [experts, inner, outer] to [experts, outer, inner]; of both, even columns are the gate's and odd ones the up's.
void ExpertReader::add_turned(const SafeTensor& columns, bool is_both) {
  const std::int64_t experts = extent(columns, 3, 0), inner = extent(columns, 3, 1), outer = extent(columns, 3, 2);
  const std::int64_t parts = is_both ? 2 : 1;
  if (is_both) want_even(columns, outer);
  const WeightType type = weight_type_of(columns);
  const auto width = static_cast<std::size_t>(block_bytes(type));
  for (std::int64_t part = 0; part < parts; ++part) {
    Bytes bytes(columns.data.size() / static_cast<std::size_t>(parts));
    std::byte* out = bytes.data();
    for (std::int64_t e = 0; e < experts; ++e) {
      for (std::int64_t o = part; o < outer; o += parts) {
        const std::byte* in = columns.data.data() + static_cast<std::size_t>(e * inner * outer + o) * width;
        for (std::int64_t i = 0; i < inner; ++i, out += width)
          std::memcpy(out, in + static_cast<std::size_t>(i * outer) * width, width);
      }
    }
    const char* name = !is_both ? "ffn_down_exps.weight" : part == 0 ? "ffn_gate_exps.weight" : "ffn_up_exps.weight";
    add_made(name, type, {experts, outer / parts, inner}, std::move(bytes));
  }
}

void ExpertReader::add_biases(const SafeTensor& biases) {
  const std::int64_t experts = extent(biases, 2, 0), both = extent(biases, 2, 1);
  want_even(biases, both);
  const WeightType type = weight_type_of(biases);
  const auto width = static_cast<std::size_t>(block_bytes(type));
  for (std::int64_t part = 0; part < 2; ++part) {
    Bytes bytes(biases.data.size() / 2);
    for (std::size_t i = 0; i < bytes.size() / width; ++i) {
      std::memcpy(bytes.data() + i * width, biases.data.data() + (2 * i + static_cast<std::size_t>(part)) * width, width);
    }
    add_made(part == 0 ? "ffn_gate_exps.bias" : "ffn_up_exps.bias", type, {experts, both / 2}, std::move(bytes));
  }
}

// One block: 16 bytes of two codes each, in the order of GGUF.
void put_block(const std::byte* codes, std::byte scale, std::byte* out) {
  *out++ = scale;
  for (int i = 0; i < kCodeBytes; ++i) {
    const auto code = [codes](int number) { return codes[number / 2] >> (number % 2 * 4) & std::byte{15}; };
    out[i] = code(i) | code(i + static_cast<int>(kCodeBytes)) << 4;
  }
}

void ExpertReader::add_blocks(const SafeTensor& blocks, const SafeTensor& scales, bool is_both) {
  const std::int64_t experts = extent(blocks, 4, 0), rows = extent(blocks, 4, 1), count = extent(blocks, 4, 2);
  if (blocks.dtype != "U8" || scales.dtype != "U8" || extent(blocks, 4, 3) != kCodeBytes ||
      scales.shape != std::vector<std::int64_t>{experts, rows, count}) {
    throw Error(ErrorKind::bad_file, "[safetensors] " + printable(blocks.name) +
                                         " and its scales do not fit each other, wanted U8 "
                                         "[experts, rows, blocks, 16] and [experts, rows, blocks]");
  }
  if (is_both) want_even(blocks, rows);
  const std::int64_t parts = is_both ? 2 : 1;
  const auto block_size = static_cast<std::size_t>(block_bytes(WeightType::mxfp4));
  for (std::int64_t part = 0; part < parts; ++part) {
    Bytes bytes(static_cast<std::size_t>(experts * rows / parts * count) * block_size);
    std::byte* out = bytes.data();
    for (std::int64_t row = part; row < experts * rows; row += parts) {
      for (std::int64_t b = row * count; b < (row + 1) * count; ++b, out += block_size) {
        put_block(blocks.data.data() + b * kCodeBytes, scales.data[static_cast<std::size_t>(b)], out);
      }
    }
    const char* name = !is_both ? "ffn_down_exps.weight" : part == 0 ? "ffn_gate_exps.weight" : "ffn_up_exps.weight";
    add_made(name, WeightType::mxfp4, {experts, rows / parts, count * kBlock}, std::move(bytes));
  }
}

}  // namespace

WeightType weight_type_of(const SafeTensor& tensor) {
  if (tensor.dtype == "F32") return WeightType::f32;
  if (tensor.dtype == "F16") return WeightType::f16;
  if (tensor.dtype == "BF16") return WeightType::bf16;
  throw Error(ErrorKind::unsupported,
              "[safetensors] " + printable(tensor.name) + " is of type " + tensor.dtype + ", wanted F32, F16 or BF16");
}

void read_hf_experts(std::map<std::string, const SafeTensor*>& stored, const HfConfig& config, std::vector<Bytes>& made,
                     const std::function<void(FileTensor)>& add) {
  const auto layers = std::get<std::uint64_t>(config.values.at(std::string(config.family->architecture) + ".block_count"));
  for (std::uint64_t l = 0; l < layers; ++l) {
    const std::string theirs = "model.layers." + std::to_string(l) + ".", experts = theirs + "mlp.experts.";
    ExpertReader reader("blk." + std::to_string(l) + ".", made, add);
    const auto take = [&](const std::string& name) -> const SafeTensor* {
      const auto node = stored.extract(name);
      return node.empty() ? nullptr : node.mapped();
    };
    const bool by_columns = config.family->experts_by_columns;
    if (const auto* both = take(theirs + "block_sparse_moe.input_linear.weight")) reader.add_rows(*both);
    if (const auto* both = take(experts + "gate_up_proj")) by_columns ? reader.add_turned(*both, true) : reader.add_rows(*both);
    if (const auto* down = take(experts + "down_proj")) {
      by_columns ? reader.add_turned(*down, false) : reader.add_as_it_is(*down, "ffn_down_exps.weight");
    }
    if (const auto* biases = take(experts + "gate_up_proj_bias")) reader.add_biases(*biases);
    if (const auto* biases = take(experts + "down_proj_bias")) reader.add_as_it_is(*biases, "ffn_down_exps.bias");
    for (const char* name : {"gate_up_proj", "down_proj"}) {
      const auto *blocks = take(experts + name + "_blocks"), *scales = take(experts + name + "_scales");
      if (blocks == nullptr && scales == nullptr) continue;
      if (blocks == nullptr || scales == nullptr) {
        throw Error(ErrorKind::bad_file, "[safetensors] found one of " + experts + name + "_blocks and _scales, wanted both");
      }
      reader.add_blocks(*blocks, *scales, std::string_view(name) == "gate_up_proj");
    }
  }
}

}  // namespace qjl::engine
