// Words and numbers of Python as the config of a cache.
#include "config.hpp"

#include "errors.hpp"
#include "qjl/codec.hpp"

namespace qjl::python {
namespace {

constexpr int kMostThreads = 1024;

}  // namespace

std::unique_ptr<ThreadPool> pool_of(int num_threads) {
  require(num_threads >= 0 && num_threads <= kMostThreads, "cache", "threads is ", num_threads, ", wanted 0 to ", kMostThreads);
  return num_threads == 1 ? nullptr : std::make_unique<ThreadPool>(num_threads);
}

DType tail_dtype_of(nb::handle name) {
  // "torch.bfloat16" and "<class 'numpy.float16'>" end in the name.
  const nb::object own = nb::hasattr(name, "__name__") ? nb::object(name.attr("__name__")) : nb::object(nb::str(name));
  std::string text = nb::cast<std::string>(own);
  text = text.substr(text.rfind('.') == std::string::npos ? 0 : text.rfind('.') + 1);
  if (text == "float16" || text == "f16") return DType::f16;
  if (text == "bfloat16" || text == "bf16") return DType::bf16;
  refuse(ErrorKind::invalid_argument, "cache", "tail_dtype is ", text, ", wanted float16 or bfloat16");
}

KeyRope::Pairs rope_pairs_of(const std::string& name) {
  if (name == "halves") return KeyRope::Pairs::halves;
  if (name == "interleaved") return KeyRope::Pairs::interleaved;
  refuse(ErrorKind::invalid_argument, "cache", "rope_pairs is `", name, "`, wanted `halves` or `interleaved`");
}

KeyRope rope_of(const std::vector<double>& frequency, const std::string& pairs) { return {frequency, rope_pairs_of(pairs)}; }

CacheConfig cache_config(const CacheOptions& o) {
  CacheConfig config;
  config.num_layers = o.num_layers;
  config.num_kv_heads = o.num_kv_heads;
  config.head_dim = o.head_dim;
  config.codec = codec_config(o.cache_type);
  for (const auto& [key, value] : o.layer_codes) {
    const CodecConfig codes = codec_config(key, value);
    config.layer_codes.emplace_back(codes.key_code, codes.value_code);
  }
  config.tail_dtype = o.tail_dtype;
  config.codec.rope = rope_of(o.ropes.size() == 1 ? o.ropes.front() : std::vector<double>(), o.rope_pairs);
  if (o.ropes.size() > 1) {
    for (const std::vector<double>& rope : o.ropes) config.layer_ropes.push_back(rope_of(rope, o.rope_pairs));
  }
  config.layer_windows = o.windows;
  config.layer_retention = o.retention;
  return config;
}

}  // namespace qjl::python
