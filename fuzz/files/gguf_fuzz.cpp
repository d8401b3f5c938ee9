// Any bytes as a GGUF file: header, keys, tensors, tokenizer and the model's shape are read or refused with a qjl::Error.
#include "gguf.hpp"

#include "fuzz_input.hpp"
#include "model_config.hpp"
#include "qjl/error.hpp"
#include "tokenizer.hpp"

using namespace qjl::engine;

namespace {

template <typename Act>
void may_refuse(const Act& act) {
  try {
    act();
  } catch (const qjl::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  may_refuse([&] {
    const GgufFile file = GgufFile::parse(std::as_bytes(std::span(data, size)), "fuzz");
    std::size_t tensor_bytes = 0;
    for (const FileTensor& tensor : file.tensors()) {
      tensor_bytes += tensor.data.size();
      const auto* first = reinterpret_cast<const std::uint8_t*>(tensor.data.data());
      qjl_fuzz::require(first >= data && first + tensor.data.size() <= data + size, "tensors lie inside the file");
    }
    qjl_fuzz::require(tensor_bytes <= size, "tensors do not overlap");
    may_refuse([&] { read_model_config(file); });
    may_refuse([&] {
      const Tokenizer tokenizer(file.tokenizer_data());
      tokenizer.decode(tokenizer.encode("hello <|im_end|> 12", Tokenizer::Special::parse));
    });
  });
  return 0;
}
