// Any bytes as a safetensors file of weights: read or refused with a qjl::Error; tensors inside the file and apart from each other; as
// tensors of a small model likewise.
#include "safetensors_file.hpp"

#include "fuzz_input.hpp"
#include "hf_builder.hpp"
#include "hf_tensors.hpp"
#include "qjl/error.hpp"

using namespace qjl::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const HfConfig config = read_hf_config(parse_json_object(qjl_test::small_config(), "config.json"));
  try {
    const std::vector<SafeTensor> tensors = parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
    std::size_t tensor_bytes = 0;
    for (const SafeTensor& tensor : tensors) {
      tensor_bytes += tensor.data.size();
      const auto* first = reinterpret_cast<const std::uint8_t*>(tensor.data.data());
      qjl_fuzz::require(first >= data && first + tensor.data.size() <= data + size, "tensors lie inside the file");
    }
    qjl_fuzz::require(tensor_bytes <= size, "tensors do not overlap");
    for (const FileTensor& tensor : read_hf_tensors(tensors, config).tensors) {
      qjl_fuzz::require(!tensor.data.empty() && !tensor.shape.empty(), "a tensor has numbers");
    }
  } catch (const qjl::Error&) {
  }
  return 0;
}
