// KvCache::truncate. A cut on a page border only drops pages. A cut inside a sealed page reopens it: its kept tokens become tail
// rows that hold the decoded numbers (rounded to 16 bit; what was lost at sealing stays lost), its sinks come back exactly.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cache_state.hpp"
#include "decoded_page.hpp"
#include "fail.hpp"
#include "queue.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

// The first `count` tokens of a sealed page as exact rows of one layer.
std::shared_ptr<RowBlock> reopen(const KvCache::State& s, const Sequence& sequence, int layer, std::int64_t page_idx,
                                 std::int64_t count) {
  const CacheConfig& c = s.config;
  auto block = std::make_shared<RowBlock>(c.num_kv_heads, layout::kPageTokens, c.head_dim);
  DecodedPage page(s, layer);
  for (int head = 0; head < c.num_kv_heads; ++head) {
    page.decode(head, s.table(sequence, layer).pages[static_cast<std::size_t>(page_idx)]);
    round_decoded(page.keys(), count * c.head_dim, c.tail_dtype, block->keys(head, 0));
    round_decoded(page.values(), count * c.head_dim, c.tail_dtype, block->values(head, 0));
  }
  const std::shared_ptr<RowBlock>& sinks = sequence.layers[static_cast<std::size_t>(layer)].sinks;
  if (page_idx == 0 && sinks) block->copy_rows(*sinks, std::min<std::int64_t>(count, c.codec.sink_tokens));
  return block;
}

// The same on a GPU, into the layer's own tail: what it holds is cut away. The scratch memory has room for a page of fp32.
void reopen_on_device(const KvCache::State& s, Sequence& sequence, int layer, std::int64_t page_idx, std::int64_t count,
                      DeviceStream stream) {
  const CacheConfig& c = s.config;
  const std::int64_t numbers = std::int64_t{layout::kPageTokens} * c.head_dim;
  auto* keys = reinterpret_cast<float*>(s.gpu->scratch.keys);
  auto* values = reinterpret_cast<float*>(s.gpu->scratch.values);
  const std::int32_t page = s.table(sequence, layer).pages[static_cast<std::size_t>(page_idx)];
  for (int head = 0; head < c.num_kv_heads; ++head) {
    s.backend.decode({.tables = &s.tables(layer),
                      .head = s.pool.head(layer, head, page),
                      .body = s.pool.body(layer, head, page),
                      .keys = keys + head * numbers,
                      .values = values + head * numbers,
                      .workspace = nullptr,
                      .stream = stream});
  }
  const auto copy = [&](const void* from, DType dtype, std::int64_t stride, std::int64_t tokens, std::uint16_t* to) {
    if (tokens == 0) return;
    s.backend.copy_rows({.from = from,
                         .from_dtype = dtype,
                         .from_head_stride = stride,
                         .from_token_stride = c.head_dim,
                         .to = to,
                         .to_dtype = c.tail_dtype,
                         .to_head_stride = numbers,
                         .to_token_stride = c.head_dim,
                         .heads = c.num_kv_heads,
                         .count = tokens,
                         .dim = c.head_dim,
                         .saturates = true,
                         .misfit = nullptr,
                         .stream = stream});
  };
  const Sequence::Layer& rows = sequence.layers[static_cast<std::size_t>(layer)];
  copy(keys, DType::f32, numbers, count, rows.tail->keys(0, 0));
  copy(values, DType::f32, numbers, count, rows.tail->values(0, 0));
  if (page_idx > 0 || !rows.sinks) return;
  const std::int64_t sinks = std::min<std::int64_t>(count, c.codec.sink_tokens), stride = rows.sinks->head_stride();
  copy(rows.sinks->keys(0, 0), c.tail_dtype, stride, sinks, rows.tail->keys(0, 0));
  copy(rows.sinks->values(0, 0), c.tail_dtype, stride, sinks, rows.tail->values(0, 0));
}

// What a layer of `tokens` keeps: queries that come see no further back.
std::int64_t first_needed(const LayerGroup& group, std::int64_t tokens) { return group.first_page(tokens) * layout::kPageTokens; }

// A recurrent state does not go back: it stays, or begins anew.
bool can_follow(const KvCache::State& s, const Sequence& sequence, std::int64_t tokens) {
  return s.config.recurrent_numbers == 0 || tokens == 0 || tokens == sequence.recurrent_tokens;
}

}  // namespace

void KvCache::truncate(SequenceId sequence, std::int64_t num_tokens, Queue queue) {
  State& s = *state_;
  Sequence& found = s.find(sequence, "truncate");
  const std::int64_t shortest = found.shortest();
  require(num_tokens >= 0 && num_tokens <= shortest, "truncate", "num_tokens is ", num_tokens, ", wanted 0 to the length ",
          shortest);
  for (int layer = 0; layer < s.config.num_layers; ++layer) {
    const std::int64_t first = first_needed(s.groups.of(layer), num_tokens);
    s.check_kept(found, layer, first, num_tokens, "truncate", "a cut to " + std::to_string(num_tokens) + " tokens");
  }
  if (!can_follow(s, found, num_tokens)) {
    fail(ErrorKind::unsupported, "truncate", "num_tokens is ", num_tokens, ", wanted 0 or ", found.recurrent_tokens,
         ": the sequence's recurrent state is that after ", found.recurrent_tokens, " tokens and does not go back");
  }
  const std::int64_t pages = num_tokens / layout::kPageTokens, open = num_tokens % layout::kPageTokens;
  const DeviceStream stream = stream_of(queue, s.device, "truncate");
  const DeviceScope scope = s.select();
  std::vector<std::shared_ptr<RowBlock>> reopened(found.layers.size());
  for (std::size_t l = 0; open > 0 && l < found.layers.size(); ++l) {
    if (found.layers[l].length / layout::kPageTokens <= pages) continue;
    const int layer = static_cast<int>(l);
    if (s.gpu)
      reopen_on_device(s, found, layer, pages, open, stream);
    else
      reopened[l] = reopen(s, found, layer, pages, open);
  }
  for (std::size_t l = 0; l < found.layers.size(); ++l) {
    Sequence::Layer& layer = found.layers[l];
    if (reopened[l]) layer.tail = std::move(reopened[l]);
    if (!s.gpu && open == 0) layer.tail.reset();
    if (!s.gpu && pages == 0) layer.sinks.reset();
    layer.set_length(num_tokens);
    if (layer.gap.begin >= pages) layer.gap = {};
  }
  for (int group = 0; group < s.groups.count(); ++group) {
    PageTable& table = found.tables[static_cast<std::size_t>(group)];
    table.first = std::min(table.first, pages);
    const auto first_dropped = std::min(table.pages.size(), static_cast<std::size_t>(pages));
    for (std::size_t i = first_dropped; i < table.pages.size(); ++i) {
      if (table.pages[i] != kNoPage) s.pool.release(group, table.pages[i]);
    }
    table.pages.resize(first_dropped);
  }
  if (num_tokens > 0) return;
  found.recurrent.reset();
  found.recurrent_tokens = 0;
}

bool KvCache::can_truncate(SequenceId sequence, std::int64_t num_tokens) const {
  const State& s = *state_;
  const Sequence& found = s.find(sequence, "can_truncate");
  if (num_tokens < 0 || num_tokens > found.shortest() || !can_follow(s, found, num_tokens)) return false;
  for (int layer = 0; layer < s.config.num_layers; ++layer) {
    if (!s.has_tokens(found, layer, first_needed(s.groups.of(layer), num_tokens), num_tokens)) return false;
  }
  return true;
}

}  // namespace qjl
