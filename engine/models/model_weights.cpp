// load_weights: names of tensors -> the weights of each layer.
#include "model_weights.hpp"

#include <numeric>
#include <set>
#include <string>

#include "qjl/error.hpp"
#include "quants.hpp"

namespace qjl::engine {
namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Hands out tensors by name and remembers which were taken.
class TensorReader {
 public:
  explicit TensorReader(const ModelFile& file) : file_(file) {}

  bool has(const std::string& name) const { return file_.find_tensor(name) != nullptr; }

  Weight matrix(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const FileTensor& tensor = take(name, {rows, columns});
    return {tensor.type, rows, columns, tensor.data.data()};
  }
  // A vector as a matrix of one row.
  Weight row(const std::string& name, std::int64_t length) {
    const FileTensor& tensor = take(name, {length});
    return {tensor.type, 1, length, tensor.data.data()};
  }
  // One matrix of each expert: of a tensor module + "_exps.weight" [count, rows, columns], or each a tensor of its own,
  // module + ".E.weight".
  std::vector<Weight> of_experts(const std::string& module, std::int64_t count, std::int64_t rows, std::int64_t columns) {
    if (has(module + ".0.weight")) {
      std::vector<Weight> own;
      for (std::int64_t e = 0; e < count; ++e) own.push_back(matrix(module + "." + std::to_string(e) + ".weight", rows, columns));
      return own;
    }
    const FileTensor& tensor = take(module + "_exps.weight", {count, rows, columns});
    return slices({tensor.type, count * rows, columns, tensor.data.data()}, std::vector(static_cast<std::size_t>(count), rows));
  }
  // Matrices that stand in one tensor, row after row.
  std::vector<Weight> fused(const std::string& name, const std::vector<std::int64_t>& rows, std::int64_t columns) {
    return slices(matrix(name, std::accumulate(rows.begin(), rows.end(), std::int64_t{0}), columns), rows);
  }

  std::vector<float> vector(const std::string& name, std::int64_t length) { return numbers(take(name, {length})); }
  std::vector<float> optional_vector(const std::string& name, std::int64_t length) {
    return has(name) ? vector(name, length) : std::vector<float>{};
  }

  // [rows, columns], column after column.
  std::vector<float> columns(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const std::vector<float> by_row = numbers(take(name, {rows, columns}));
    std::vector<float> out(by_row.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        out[static_cast<std::size_t>(c * rows + r)] = by_row[static_cast<std::size_t>(r * columns + c)];
    }
    return out;
  }

  // [count, length] as one row for each of the first extent; empty rows when there is no such tensor.
  std::vector<std::vector<float>> optional_rows(const std::string& name, std::int64_t count, std::int64_t length) {
    std::vector<std::vector<float>> rows(static_cast<std::size_t>(count));
    if (!has(name)) return rows;
    const std::vector<float> all = numbers(take(name, {count, length}));
    for (std::int64_t i = 0; i < count; ++i) {
      rows[static_cast<std::size_t>(i)].assign(all.begin() + i * length, all.begin() + (i + 1) * length);
    }
    return rows;
  }

  void ignore(const std::string& name) { taken_.insert(name); }
  void ignore_layer(std::size_t l) {
    const std::string prefix = "blk." + std::to_string(l) + ".";
    for (const FileTensor& tensor : file_.tensors()) {
      if (tensor.name.starts_with(prefix)) ignore(tensor.name);
    }
  }

  void check_all_taken(const std::string& architecture) const {
    for (const FileTensor& tensor : file_.tensors()) {
      if (!taken_.contains(tensor.name)) {
        throw Error(ErrorKind::unsupported,
                    "[model] tensor " + tensor.name + " is in the file, wanted only tensors that " + architecture + " uses");
      }
    }
  }

 private:
  static std::vector<float> numbers(const FileTensor& tensor) {
    std::int64_t count = 1;
    for (const std::int64_t extent : tensor.shape) count *= extent;
    std::vector<float> out(static_cast<std::size_t>(count));
    dequantize(tensor.type, tensor.data.data(), count, out.data());
    return out;
  }

  static std::vector<Weight> slices(const Weight& whole, const std::vector<std::int64_t>& rows) {
    std::vector<Weight> parts;
    std::int64_t first = 0;
    for (const std::int64_t count : rows) {
      parts.push_back({whole.type, count, whole.columns, whole.row(first)});
      first += count;
    }
    return parts;
  }

  const FileTensor& take(const std::string& name, const std::vector<std::int64_t>& shape) {
    const FileTensor& tensor = file_.tensor(name);
    if (tensor.shape != shape) {
      throw Error(ErrorKind::bad_file,
                  "[model] " + name + " has shape " + shape_text(tensor.shape) + ", wanted " + shape_text(shape));
    }
    const int numbers = block_numbers(tensor.type);
    if (shape.back() % numbers != 0) {
      throw Error(ErrorKind::bad_file, "[model] rows of " + name + " have " + std::to_string(shape.back()) +
                                           " numbers, wanted whole blocks of " + std::to_string(numbers));
    }
    std::int64_t bytes = block_bytes(tensor.type);
    for (const std::int64_t extent : shape) bytes *= extent;  // extents are bounded by read_model_config
    bytes /= numbers;
    if (std::ssize(tensor.data) != bytes) {
      throw Error(ErrorKind::bad_file,
                  "[model] " + name + " has " + std::to_string(tensor.data.size()) + " bytes, wanted " + std::to_string(bytes));
    }
    taken_.insert(name);
    return tensor;
  }

  const ModelFile& file_;
  std::set<std::string> taken_;
};

void load_projections(TensorReader& tensors, const ModelConfig& config, const std::string& prefix, LayerWeights& layer) {
  const std::int64_t hidden = config.hidden, key_dim = config.key_dim, value_dim = config.value_dim;
  const std::int64_t query_rows = config.num_heads * key_dim * (config.family->gates_attention ? 2 : 1);
  const std::int64_t key_rows = config.num_kv_heads * key_dim;
  const std::int64_t value_rows = config.num_kv_heads * value_dim, output_columns = config.num_heads * value_dim;
  if (tensors.has(prefix + "attn_qkv.weight")) {
    const std::vector<Weight> parts = tensors.fused(prefix + "attn_qkv.weight", {query_rows, key_rows, value_rows}, hidden);
    layer.query = parts[0], layer.key = parts[1], layer.value = parts[2];
  } else {
    layer.query = tensors.matrix(prefix + "attn_q.weight", query_rows, hidden);
    layer.key = tensors.matrix(prefix + "attn_k.weight", key_rows, hidden);
    layer.value = tensors.matrix(prefix + "attn_v.weight", value_rows, hidden);
  }
  layer.output = tensors.matrix(prefix + "attn_output.weight", hidden, output_columns);
  // A bias of a query and its gate nobody has written yet: it stays untaken, and is refused.
  if (!config.family->gates_attention) layer.query_bias = tensors.optional_vector(prefix + "attn_q.bias", query_rows);
  layer.key_bias = tensors.optional_vector(prefix + "attn_k.bias", key_rows);
  layer.value_bias = tensors.optional_vector(prefix + "attn_v.bias", value_rows);
  layer.output_bias = tensors.optional_vector(prefix + "attn_output.bias", hidden);
  layer.sink_logits = tensors.optional_vector(prefix + "attn_sinks.weight", config.num_heads);
  if (config.family->head_norms == HeadNorms::none) return;
  const bool each = config.family->head_norms == HeadNorms::each_head;
  layer.query_norm = tensors.vector(prefix + "attn_q_norm.weight", each ? key_dim : query_rows);
  layer.key_norm = tensors.vector(prefix + "attn_k_norm.weight", each ? key_dim : key_rows);
}

DeltaWeights load_delta(TensorReader& tensors, const ModelConfig& config, const std::string& prefix) {
  const DeltaShape& shape = config.delta;
  const std::int64_t hidden = config.hidden, heads = shape.value_heads;
  DeltaWeights weights;
  weights.mixed = tensors.matrix(prefix + "attn_qkv.weight", shape.mixed_width(), hidden);
  weights.gate = tensors.matrix(prefix + "attn_gate.weight", shape.value_width(), hidden);
  weights.output = tensors.matrix(prefix + "ssm_out.weight", hidden, shape.value_width());
  weights.decay = tensors.matrix(prefix + "ssm_alpha.weight", heads, hidden);
  weights.rate = tensors.matrix(prefix + "ssm_beta.weight", heads, hidden);
  weights.taps = tensors.columns(prefix + "ssm_conv1d.weight", shape.mixed_width(), shape.kernel);
  weights.slope = tensors.vector(prefix + "ssm_a", heads);
  weights.decay_bias = tensors.vector(prefix + "ssm_dt.bias", heads);
  weights.norm = tensors.vector(prefix + "ssm_norm.weight", shape.value_dim);
  return weights;
}

void load_norms(TensorReader& tensors, const ModelConfig& config, const std::string& prefix, LayerWeights& layer) {
  const Norms norms = config.family->norms;
  if (norms != Norms::post) {
    layer.attention_norm = tensors.vector(prefix + "attn_norm.weight", config.hidden);
    // gpt-oss' converter names the norm before the feed-forward part by what it comes after.
    const bool has_other_name = norms == Norms::pre && tensors.has(prefix + "post_attention_norm.weight");
    layer.feed_forward_norm =
        tensors.vector(prefix + (has_other_name ? "post_attention_norm.weight" : "ffn_norm.weight"), config.hidden);
  }
  if (norms != Norms::pre) {
    layer.post_attention_norm = tensors.vector(prefix + "post_attention_norm.weight", config.hidden);
    layer.post_feed_forward_norm = tensors.vector(prefix + "post_ffw_norm.weight", config.hidden);
  }
}

// `kind` comes after the matrices' names: "", "_shexp".
FeedForwardWeights load_feed_forward(TensorReader& tensors, const std::string& prefix, const std::string& kind, std::int64_t width,
                                     std::int64_t hidden) {
  FeedForwardWeights weights;
  if (tensors.has(prefix + "ffn_gate" + kind + ".weight")) {
    weights.gate = tensors.matrix(prefix + "ffn_gate" + kind + ".weight", width, hidden);
    weights.up = tensors.matrix(prefix + "ffn_up" + kind + ".weight", width, hidden);
  } else {
    const std::vector<Weight> parts = tensors.fused(prefix + "ffn_up" + kind + ".weight", {width, width}, hidden);
    weights.gate = parts[0], weights.up = parts[1];
  }
  weights.down = tensors.matrix(prefix + "ffn_down" + kind + ".weight", hidden, width);
  weights.gate_bias = tensors.optional_vector(prefix + "ffn_gate" + kind + ".bias", width);
  weights.up_bias = tensors.optional_vector(prefix + "ffn_up" + kind + ".bias", width);
  weights.down_bias = tensors.optional_vector(prefix + "ffn_down" + kind + ".bias", hidden);
  return weights;
}

ExpertWeights load_experts(TensorReader& tensors, const ModelConfig& config, const std::string& prefix) {
  const ExpertShape& shape = config.experts;
  const std::int64_t count = shape.count, width = shape.feed_forward, hidden = config.hidden;
  ExpertWeights experts;
  experts.router = tensors.matrix(prefix + "ffn_gate_inp.weight", count, hidden);
  experts.router_bias = tensors.optional_vector(prefix + "ffn_gate_inp.bias", count);
  const std::vector<Weight> gates = tensors.of_experts(prefix + "ffn_gate", count, width, hidden);
  const std::vector<Weight> ups = tensors.of_experts(prefix + "ffn_up", count, width, hidden);
  const std::vector<Weight> downs = tensors.of_experts(prefix + "ffn_down", count, hidden, width);
  const auto gate_biases = tensors.optional_rows(prefix + "ffn_gate_exps.bias", count, width);
  const auto up_biases = tensors.optional_rows(prefix + "ffn_up_exps.bias", count, width);
  const auto down_biases = tensors.optional_rows(prefix + "ffn_down_exps.bias", count, hidden);
  for (std::size_t e = 0; e < gates.size(); ++e) {
    experts.routed.push_back({gates[e], ups[e], downs[e], gate_biases[e], up_biases[e], down_biases[e]});
  }
  if (!tensors.has(prefix + "ffn_down_shexp.weight")) return experts;
  experts.shared = load_feed_forward(tensors, prefix, "_shexp", shape.shared_feed_forward, hidden);
  if (tensors.has(prefix + "ffn_gate_inp_shexp.weight")) {
    experts.shared_gate = tensors.row(prefix + "ffn_gate_inp_shexp.weight", hidden);
  }
  return experts;
}

LayerWeights load_layer(TensorReader& tensors, const ModelConfig& config, std::size_t l) {
  const std::string prefix = "blk." + std::to_string(l) + ".";
  LayerWeights layer;
  if (config.layers[l].keeps_state) {
    layer.delta = load_delta(tensors, config, prefix);
  } else {
    load_projections(tensors, config, prefix, layer);
  }
  load_norms(tensors, config, prefix, layer);
  if (config.experts.count > 0 && tensors.has(prefix + "ffn_gate_inp.weight")) {
    layer.experts = load_experts(tensors, config, prefix);
  } else {
    layer.dense = load_feed_forward(tensors, prefix, "", config.layers[l].feed_forward, config.hidden);
  }
  return layer;
}

}  // namespace

ModelWeights load_weights(const ModelFile& file, const ModelConfig& config) {
  TensorReader tensors(file);
  ModelWeights weights;
  weights.embedding = tensors.matrix("token_embd.weight", config.vocab_size, config.hidden);
  weights.output = config.tied_embeddings ? weights.embedding : tensors.matrix("output.weight", config.vocab_size, config.hidden);
  weights.output_norm = tensors.vector("output_norm.weight", config.hidden);
  for (std::size_t l = 0; l < config.layers.size(); ++l) weights.layers.push_back(load_layer(tensors, config, l));
  for (const char* name : {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}) {
    tensors.ignore(name);  // read with the config
  }
  for (int i = 0; i < config.left_out_layers; ++i) tensors.ignore_layer(config.layers.size() + static_cast<std::size_t>(i));
  tensors.check_all_taken(std::string(config.family->name));
  return weights;
}

}  // namespace qjl::engine
