// The config of a cache: read from Python's words, and shown to Python. KvCache and PagedCache share it.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "qjl/config.hpp"
#include "qjl/threads.hpp"

namespace qjl::python {

namespace nb = nanobind;

// "float16", "bfloat16", or the names of these types in NumPy and torch; "halves" or "interleaved".
DType tail_dtype_of(nb::handle name);
KeyRope::Pairs rope_pairs_of(const std::string& name);
KeyRope rope_of(const std::vector<double>& frequency, const std::string& pairs);

// As the Python classes give them: ropes none, one for all layers or one for each.
struct CacheOptions {
  int num_layers, num_kv_heads, head_dim;
  std::string cache_type;
  std::vector<std::pair<std::string, std::string>> layer_codes;
  DType tail_dtype;
  std::vector<std::vector<double>> ropes;
  std::string rope_pairs;
  std::vector<std::int64_t> windows = {}, retention = {};  // of each layer, or none
};
// Without max_pages.
CacheConfig cache_config(const CacheOptions& options);

// 0 for all processors that this process may use; 1 needs no pool.
std::unique_ptr<ThreadPool> pool_of(int num_threads);

inline void check_layer(const CacheConfig& config, int layer, const char* operation) {
  require(layer >= 0 && layer < config.num_layers, operation, "layer is ", layer, ", wanted 0 to ", config.num_layers - 1);
}

// What a class with config() and num_threads() tells of them.
template <typename Held>
void bind_config(nb::class_<Held>& c) {
  c.def_prop_ro("num_layers", [](const Held& self) { return self.config().num_layers; })
      .def_prop_ro("num_kv_heads", [](const Held& self) { return self.config().num_kv_heads; })
      .def_prop_ro("head_dim", [](const Held& self) { return self.config().head_dim; })
      .def_prop_ro("tail_dtype", [](const Held& self) { return self.config().tail_dtype == DType::bf16 ? "bfloat16" : "float16"; })
      .def_prop_ro("rope_pairs",
                   [](const Held& self) {
                     const CodecConfig codec = layer_codec(self.config(), 0);
                     return codec.rope.pairs == KeyRope::Pairs::interleaved ? "interleaved" : "halves";
                   })
      .def_prop_ro("seed", [](const Held& self) { return self.config().codec.seed; })
      .def_prop_ro("sink_tokens", [](const Held& self) { return self.config().codec.sink_tokens; })
      .def_prop_ro("threads", &Held::num_threads)
      .def(
          "rope",
          [](const Held& self, int layer) {
            check_layer(self.config(), layer, "rope");
            return layer_codec(self.config(), layer).rope.frequency;
          },
          nb::arg("layer") = 0, "rope(layer=0) -> list[float]\n\nRadians by which each pair of channels turns at each token.")
      .def(
          "cache_type",
          [](const Held& self, int layer) {
            check_layer(self.config(), layer, "cache_type");
            return cache_type_name(layer_codec(self.config(), layer));
          },
          nb::arg("layer") = 0, "cache_type(layer=0) -> str\n\nThe cache type of one layer, as `cache` reads it.");
}

}  // namespace qjl::python
