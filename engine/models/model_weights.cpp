// load_weights: names of tensors -> the weights of each layer.
#include "model_weights.hpp"

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

  std::vector<float> vector(const std::string& name, std::int64_t length) {
    const FileTensor& tensor = take(name, {length});
    std::vector<float> numbers(static_cast<std::size_t>(length));
    dequantize(tensor.type, tensor.data.data(), length, numbers.data());
    return numbers;
  }
  std::vector<float> optional_vector(const std::string& name, std::int64_t length) {
    return has(name) ? vector(name, length) : std::vector<float>{};
  }

  void ignore(const std::string& name) { taken_.insert(name); }

  void check_all_taken(const std::string& architecture) const {
    for (const FileTensor& tensor : file_.tensors()) {
      if (!taken_.contains(tensor.name)) {
        throw Error(ErrorKind::unsupported,
                    "[model] tensor " + tensor.name + " is in the file, wanted only tensors that " + architecture + " uses");
      }
    }
  }

 private:
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

LayerWeights load_layer(TensorReader& tensors, const ModelConfig& config, const std::string& prefix) {
  const std::int64_t hidden = config.hidden, feed_forward = config.feed_forward, head_dim = config.head_dim;
  const std::int64_t query_width = config.num_heads * head_dim, key_width = config.num_kv_heads * head_dim;
  LayerWeights layer;
  layer.attention_norm = tensors.vector(prefix + "attn_norm.weight", hidden);
  layer.query = tensors.matrix(prefix + "attn_q.weight", query_width, hidden);
  layer.key = tensors.matrix(prefix + "attn_k.weight", key_width, hidden);
  layer.value = tensors.matrix(prefix + "attn_v.weight", key_width, hidden);
  layer.output = tensors.matrix(prefix + "attn_output.weight", hidden, query_width);
  layer.query_bias = tensors.optional_vector(prefix + "attn_q.bias", query_width);
  layer.key_bias = tensors.optional_vector(prefix + "attn_k.bias", key_width);
  layer.value_bias = tensors.optional_vector(prefix + "attn_v.bias", key_width);
  if (config.family->query_key_norm) {
    layer.query_norm = tensors.vector(prefix + "attn_q_norm.weight", head_dim);
    layer.key_norm = tensors.vector(prefix + "attn_k_norm.weight", head_dim);
  }
  layer.feed_forward_norm = tensors.vector(prefix + "ffn_norm.weight", hidden);
  if (config.family->norms == Norms::pre_and_post) {
    layer.post_attention_norm = tensors.vector(prefix + "post_attention_norm.weight", hidden);
    layer.post_feed_forward_norm = tensors.vector(prefix + "post_ffw_norm.weight", hidden);
  }
  layer.gate = tensors.matrix(prefix + "ffn_gate.weight", feed_forward, hidden);
  layer.up = tensors.matrix(prefix + "ffn_up.weight", feed_forward, hidden);
  layer.down = tensors.matrix(prefix + "ffn_down.weight", hidden, feed_forward);
  return layer;
}

}  // namespace

ModelWeights load_weights(const ModelFile& file, const ModelConfig& config) {
  TensorReader tensors(file);
  ModelWeights weights;
  weights.embedding = tensors.matrix("token_embd.weight", config.vocab_size, config.hidden);
  weights.output = config.tied_embeddings ? weights.embedding : tensors.matrix("output.weight", config.vocab_size, config.hidden);
  weights.output_norm = tensors.vector("output_norm.weight", config.hidden);
  for (int i = 0; i < config.num_layers; ++i) {
    weights.layers.push_back(load_layer(tensors, config, "blk." + std::to_string(i) + "."));
  }
  tensors.ignore("rope_freqs.weight");  // read with the config
  tensors.check_all_taken(std::string(config.family->name));
  return weights;
}

}  // namespace qjl::engine
