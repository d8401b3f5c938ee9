// read_hf_tensors: experts that stand together first, then every other tensor by its name.
#include "hf_tensors.hpp"

#include <cmath>
#include <cstring>
#include <utility>

#include "hf_experts.hpp"
#include "hf_names.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "quants.hpp"

namespace qjl::engine {
namespace {

std::int64_t count_of(const FileTensor& tensor) {
  return std::ssize(tensor.data) / block_bytes(tensor.type) * block_numbers(tensor.type);
}

class TensorMaker {
 public:
  TensorMaker(const HfConfig& config, HfTensors& out) : config_(config), out_(out) {}

  // A view where it can be read in place, else a copy.
  void add(FileTensor tensor);
  void add_stored(const SafeTensor& stored);
  void add_divisors();

 private:
  // The tensor over bytes of its own.
  void add_made(FileTensor tensor, std::vector<std::byte> bytes) {
    out_.made.push_back(std::move(bytes));
    tensor.data = out_.made.back();
    out_.tensors.push_back(std::move(tensor));
  }
  void add_numbers(FileTensor tensor, const std::vector<float>& numbers) {
    std::vector<std::byte> bytes(numbers.size() * sizeof(float));
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    tensor.type = WeightType::f32;
    add_made(std::move(tensor), std::move(bytes));
  }

  const HfConfig& config_;
  HfTensors& out_;
};

// Blocks of codes are read byte by byte; numbers need an address that they divide, which a file's header need not give them.
void TensorMaker::add(FileTensor tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data.data());
  const auto width = static_cast<std::uintptr_t>(block_bytes(tensor.type));
  if (block_numbers(tensor.type) > 1 || address % width == 0) {
    out_.tensors.push_back(std::move(tensor));
    return;
  }
  std::vector<std::byte> copy(tensor.data.begin(), tensor.data.end());
  add_made(std::move(tensor), std::move(copy));
}

void TensorMaker::add_stored(const SafeTensor& stored) {
  std::string name = gguf_tensor_name(stored.name, *config_.family);
  if (name.empty() || (name == "output.weight" && config_.tied_embeddings)) return;
  FileTensor tensor{std::move(name), weight_type_of(stored), stored.shape, stored.data};
  if (tensor.shape.empty()) tensor.shape = {1};
  if (tensor.name.ends_with("ffn_gate_inp_shexp.weight") && tensor.shape.size() == 2 && tensor.shape[0] == 1) {
    tensor.shape.erase(tensor.shape.begin());
  }
  if (tensor.name.ends_with("ssm_conv1d.weight") && tensor.shape.size() == 3 && tensor.shape[1] == 1) {
    tensor.shape.erase(tensor.shape.begin() + 1);
  }
  const bool adds_one =
      config_.family->norms_add_one && tensor.name.ends_with("norm.weight") && !tensor.name.ends_with("ssm_norm.weight");
  if (const bool is_logarithm = tensor.name.ends_with(".ssm_a"); adds_one || is_logarithm) {
    std::vector<float> numbers(static_cast<std::size_t>(count_of(tensor)));
    dequantize(tensor.type, tensor.data.data(), std::ssize(numbers), numbers.data());
    for (float& number : numbers) number = is_logarithm ? -std::exp(number) : number + 1.0f;
    add_numbers(std::move(tensor), numbers);
    return;
  }
  add(std::move(tensor));
}

void TensorMaker::add_divisors() {
  for (const auto& [name, divisors] : config_.divisors) {
    if (divisors.empty()) throw Error(ErrorKind::bad_file, "[config.json] found an empty list of factors, wanted " + name);
    add_numbers({name, WeightType::f32, {std::ssize(divisors)}, {}}, divisors);
  }
}

}  // namespace

HfTensors read_hf_tensors(std::span<const SafeTensor> stored, const HfConfig& config) {
  HfTensors out;
  TensorMaker maker(config, out);
  std::map<std::string, const SafeTensor*> by_name;
  for (const SafeTensor& tensor : stored) {
    if (!by_name.emplace(tensor.name, &tensor).second) {
      throw Error(ErrorKind::bad_file, "[safetensors] found tensor " + printable(tensor.name) + " twice, wanted it once");
    }
  }
  read_hf_experts(by_name, config, out.made, [&](FileTensor tensor) { maker.add(std::move(tensor)); });
  for (const auto& [name, tensor] : by_name) maker.add_stored(*tensor);
  maker.add_divisors();
  return out;
}

}  // namespace qjl::engine
