// A sealed page back in rows, on the host: what truncate and read share.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.hpp"
#include "cache_state.hpp"

namespace qjl {

// One page of one kv head in fp32 and token order: [128, head_dim] each. One per thread; its memory is taken once.
class DecodedPage {
 public:
  DecodedPage(const KvCache::State& cache, int layer)
      : cache_(cache),
        layer_(layer),
        keys_(static_cast<std::size_t>(layout::kPageTokens) * static_cast<std::size_t>(cache.config.head_dim)),
        values_(keys_.size()) {}

  // The numbers that the codes stand for; sinks are not exact here.
  void decode(int kv_head, std::int32_t page) {
    const CodecTables& tables = cache_.tables(layer_);
    const auto scratch_bytes = static_cast<std::int64_t>(cache_.backend.attend_workspace_bytes(tables));
    cache_.backend.decode({.tables = &tables,
                           .head = cache_.pool.head(layer_, kv_head, page),
                           .body = cache_.pool.body(layer_, kv_head, page),
                           .keys = keys_.data(),
                           .values = values_.data(),
                           .workspace = workspace_.at_least(scratch_bytes)});
  }
  const float* keys() const { return keys_.data(); }
  const float* values() const { return values_.data(); }

 private:
  const KvCache::State& cache_;
  int layer_;
  std::vector<float> keys_, values_;
  Buffer workspace_;
};

}  // namespace qjl
