// KvCache::append: checks once, then the rows go the way of the host or of the device. Of many sequences everything is checked before
// the first of them changes, so that an error leaves all as they were.
#include "append.hpp"

#include <limits>
#include <span>
#include <string_view>

#include "fail.hpp"
#include "queue.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

constexpr std::string_view kOperation = "append";

void check_request(const KvCache::State& s, int layer, const AppendRequest& r) {
  s.find(r.sequence, kOperation);
  s.check_layer(layer, kOperation);
  check_shape(r.keys, s.config.num_kv_heads, s.config.head_dim, {kOperation, "keys"}, s.device);
  check_shape(r.values, s.config.num_kv_heads, s.config.head_dim, {kOperation, "values"}, s.device);
  require(r.keys.tokens == r.values.tokens, kOperation, "values have ", r.values.tokens, " tokens, wanted ", r.keys.tokens,
          " as the keys");
}

// Where layers forget, pages are few whatever the length; the table is not.
void check_length(const AppendSpan& span, std::string_view operation = kOperation) {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (span.end_page > most) {
    fail(ErrorKind::out_of_pages, operation, span.end_page, " pages of one sequence are wanted, wanted at most ", most);
  }
}

// What one append by itself finds out as it goes: numbers on the host, pages.
void check_together(const KvCache::State& s, int layer, std::span<const AppendRequest> requests, ThreadPool* threads) {
  const int group = s.groups.index_of(layer);
  std::int64_t pages = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const AppendRequest& r = requests[i];
    for (const AppendRequest& before : requests.first(i)) {
      require(before.sequence != r.sequence, kOperation, "sequence ", static_cast<std::int64_t>(r.sequence),
              " comes twice, wanted each sequence once");
    }
    const Sequence& sequence = s.find(r.sequence, kOperation);
    const AppendSpan span = append_span(s, sequence, layer, r.keys.tokens);
    check_length(span);
    pages += span.num_new(s.table(sequence, layer));
    if (threads == nullptr) continue;
    check_numbers(r.keys, s.config.tail_dtype, {kOperation, "keys"}, *threads);
    check_numbers(r.values, s.config.tail_dtype, {kOperation, "values"}, *threads);
  }
  s.check_free(group, pages, kOperation);
}

}  // namespace

AppendSpan append_span(const KvCache::State& s, const Sequence& sequence, int layer, std::int64_t new_tokens) {
  const std::int64_t before = sequence.layers[static_cast<std::size_t>(layer)].length;
  const LayerGroup& group = s.groups.of(layer);
  if (!group.forgets()) return {before, new_tokens};
  return {before, new_tokens, group.needless(sequence.shortest(), before + new_tokens)};
}

void check_room(const KvCache::State& s, int group, const AppendSpan& span, const PageTable& table, std::string_view operation) {
  s.check_free(group, span.num_new(table), operation);
  check_length(span, operation);
}

void KvCache::append(SequenceId sequence, int layer, const TensorView& keys, const TensorView& values, Queue queue) {
  const AppendRequest request{sequence, keys, values};
  append({&request, 1}, layer, queue);
}

void KvCache::append(std::span<const AppendRequest> requests, int layer, Queue queue) {
  State& s = *state_;
  for (const AppendRequest& r : requests) check_request(s, layer, r);
  ThreadPool* threads = s.gpu ? nullptr : &threads_of(queue, kOperation);
  const DeviceStream stream = s.gpu ? stream_of(queue, s.device, kOperation) : nullptr;
  const DeviceScope scope = s.select();
  for (const AppendRequest& r : requests) {
    if (r.keys.tokens == 0) continue;
    s.check_memory(r.keys.data, {kOperation, "keys"});
    s.check_memory(r.values.data, {kOperation, "values"});
  }
  if (requests.size() > 1) check_together(s, layer, requests, threads);
  for (const AppendRequest& r : requests) {
    if (r.keys.tokens == 0) continue;
    Sequence& sequence = s.find(r.sequence, kOperation);
    if (s.gpu)
      append_on_device(s, sequence, layer, r.keys, r.values, stream);
    else
      append_on_host(s, sequence, layer, r.keys, r.values, *threads);
  }
}

}  // namespace qjl
