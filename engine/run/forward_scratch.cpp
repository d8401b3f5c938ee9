// ForwardScratch: what it holds, and what a long prompt leaves of it.
#include "model_state.hpp"

namespace qjl::engine {

std::int64_t ForwardScratch::bytes() const {
  std::int64_t total = products.bytes() + attend.bytes() + on_device.bytes() + feed_forward.bytes() + delta.bytes();
  for (const std::vector<float>* buffer : {&hidden, &query, &key, &value, &attended, &angles, &lse, &query_scale, &gates, &normed,
                                           &gated_query, &projected, &logits_input, &logits, &taken_logits}) {
    total += static_cast<std::int64_t>(buffer->capacity() * sizeof(float));
  }
  for (const std::vector<float>& state : states) total += static_cast<std::int64_t>(state.capacity() * sizeof(float));
  return total;
}

void ForwardScratch::release() {
  for (std::vector<float>* buffer :
       {&hidden, &query, &key, &value, &attended, &angles, &lse, &query_scale, &gates, &normed, &gated_query, &projected}) {
    std::vector<float>().swap(*buffer);
  }
  states = {};
  feed_forward = {};
  delta = {};
  attend = {};
  on_device = {};
}

}  // namespace qjl::engine
