// An append on the host: rows -> open tail -> sealed pages.
//
// Every page is encoded by itself, one item of work per (page, kv head), from rows that were rounded once to 16 bit: its bytes
// depend on its 128 tokens, on its position (sinks) and, for a sketch, on the channels found in the sequence's first page.
// Rows of whole pages are checked where they are rounded, so that a prompt is read once; the rest is checked before it is written.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "append.hpp"
#include "buffer.hpp"
#include "fail.hpp"
#include "half.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

// 16-bit rows of one page.
struct PageRows {
  const std::uint16_t* data;
  std::int64_t token_stride;
};

class HostAppend {
 public:
  HostAppend(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values)
      : s_(state),
        sequence_(sequence),
        layer_(sequence.layers[static_cast<std::size_t>(layer)]),
        layer_idx_(layer),
        keys_(keys),
        values_(values),
        span_(layer_.length, keys.tokens),
        num_sinks_(span_.first_page == 0 && span_.end_page > 0 ? state.config.codec.sink_tokens : 0) {}

  void run(ThreadPool& threads);

 private:
  std::int32_t page_at(std::int64_t page_idx) const {
    const auto i = static_cast<std::size_t>(page_idx), known = sequence_.pages.size();
    return i < known ? sequence_.pages[i] : taken_->pages()[i - known];
  }
  void check_all(ThreadPool& threads) const;
  bool open_rows_fit() const;
  std::shared_ptr<RowBlock> new_tail() const;
  void seal(ThreadPool& threads);
  void change_rows(ThreadPool& threads);
  PageRows changed_rows(std::int64_t page_idx, int side, int kv_head) const;
  void encode(std::int64_t page_idx, int kv_head, std::uint8_t* scratch);
  PageRows page_rows(const TensorView& input, const std::uint16_t* tail, std::int64_t page_idx, int kv_head,
                     std::uint16_t* staging);
  void write_tail(RowBlock& tail) const;

  KvCache::State& s_;
  Sequence& sequence_;
  Sequence::Layer& layer_;
  const int layer_idx_;
  const TensorView &keys_, &values_;
  const AppendSpan span_;
  const int num_sinks_;
  std::optional<TakenPages> taken_;
  std::shared_ptr<RowBlock> sinks_;
  std::atomic<bool> misfit_{false};     // some page has a number that the format cannot hold
  std::vector<std::uint16_t> changed_;  // what on_seal left: [new pages, keys and values, kv_heads, 128, head_dim]; else empty
};

// Errors: invalid_argument naming the first number that the format cannot hold, keys before values.
void HostAppend::check_all(ThreadPool& threads) const {
  check_numbers(keys_, s_.config.tail_dtype, {"append", "keys"}, threads);
  check_numbers(values_, s_.config.tail_dtype, {"append", "values"}, threads);
}

// Of the rows that no page takes.
bool HostAppend::open_rows_fit() const {
  const std::int64_t count = span_.open_count(), first = span_.open_first();
  for (int head = 0; head < s_.config.num_kv_heads; ++head) {
    if (!rows_fit(keys_, head, first, count, s_.config.tail_dtype)) return false;
    if (!rows_fit(values_, head, first, count, s_.config.tail_dtype)) return false;
  }
  return true;
}

void HostAppend::run(ThreadPool& threads) {
  const std::int64_t new_pages = span_.new_pages(sequence_);
  // A wrong number is told before a lack of pages, and before on_seal sees it.
  const bool only_open = !s_.config.on_seal && s_.pool.free_pages() >= new_pages;
  if (!only_open || !open_rows_fit()) check_all(threads);
  s_.check_free(new_pages, "append");
  make_room(sequence_.pages, std::max<std::int64_t>(span_.end_page, static_cast<std::int64_t>(sequence_.pages.size())));
  taken_.emplace(s_.pool, new_pages);
  if (num_sinks_ > 0) sinks_ = std::make_shared<RowBlock>(s_.config.num_kv_heads, num_sinks_, s_.config.head_dim);
  std::shared_ptr<RowBlock> tail = new_tail();
  if (span_.seals()) seal(threads);
  if (misfit_) check_all(threads);
  for (std::int64_t i = span_.first_page; i < span_.end_page; ++i) s_.pool.touch(layer_idx_, page_at(i));
  // From here on nothing can fail.
  if (tail) write_tail(*tail);
  layer_.tail = std::move(tail);
  if (sinks_) layer_.sinks = std::move(sinks_);
  taken_->keep(sequence_.pages);
  layer_.set_length(span_.length + span_.tokens);
}

// The block that will hold the open tokens: the old one unless a fork shares it; null when none stays open.
std::shared_ptr<RowBlock> HostAppend::new_tail() const {
  if (span_.open_after == 0) return nullptr;
  if (layer_.tail && layer_.tail.use_count() == 1) return layer_.tail;
  auto block = std::make_shared<RowBlock>(s_.config.num_kv_heads, kPage, s_.config.head_dim);
  if (layer_.tail && !span_.seals()) block->copy_rows(*layer_.tail, span_.open_before);
  return block;
}

void HostAppend::write_tail(RowBlock& tail) const {
  const std::int64_t start = span_.open_start(), count = span_.open_count(), first = span_.open_first();
  for (int head = 0; head < s_.config.num_kv_heads; ++head) {
    round_rows(keys_, head, first, count, s_.config.tail_dtype, tail.keys(head, start));
    round_rows(values_, head, first, count, s_.config.tail_dtype, tail.values(head, start));
  }
}

// Shows every new page to config.on_seal and keeps what it leaves.
void HostAppend::change_rows(ThreadPool& threads) {
  const std::int64_t dim = s_.config.head_dim, row_block = kPage * dim, side = s_.config.num_kv_heads * row_block;
  changed_.resize(static_cast<std::size_t>((span_.end_page - span_.first_page) * 2 * side));
  threads.run(span_.end_page - span_.first_page, [&](std::int64_t item, int) {
    std::vector<std::uint16_t> staging(static_cast<std::size_t>(row_block));
    std::vector<float> rows(static_cast<std::size_t>(2 * side));
    const std::int64_t page_idx = span_.first_page + item;
    for (int block = 0; block < 2 * s_.config.num_kv_heads; ++block) {
      const int head = block % s_.config.num_kv_heads;
      const bool is_keys = block == head;
      const RowBlock* tail = layer_.tail.get();
      const std::uint16_t* tail_rows = tail == nullptr ? nullptr : is_keys ? tail->keys(head, 0) : tail->values(head, 0);
      const PageRows exact = page_rows(is_keys ? keys_ : values_, tail_rows, page_idx, head, staging.data());
      for (std::int64_t i = 0; i < row_block; ++i) {
        rows[static_cast<std::size_t>(block * row_block + i)] =
            to_float(exact.data[i / dim * exact.token_stride + i % dim], s_.config.tail_dtype);
      }
    }
    const std::span<float> all(rows);
    const auto half = static_cast<std::size_t>(side);
    s_.config.on_seal({layer_idx_, page_idx * kPage, all.first(half), all.last(half)});
    for (const float number : all) require(std::isfinite(number), "append", "on_seal left ", number, ", wanted finite numbers");
    round_decoded(rows.data(), 2 * side, s_.config.tail_dtype, changed_.data() + item * 2 * side);
  });
}

PageRows HostAppend::changed_rows(std::int64_t page_idx, int side, int kv_head) const {
  const std::int64_t block = ((page_idx - span_.first_page) * 2 + side) * s_.config.num_kv_heads + kv_head;
  return {changed_.data() + block * kPage * s_.config.head_dim, s_.config.head_dim};
}

void HostAppend::seal(ThreadPool& threads) {
  if (s_.config.on_seal) change_rows(threads);
  const CodecTables& tables = s_.tables(layer_idx_);
  const std::int64_t staging_bytes = 2 * kPage * s_.config.head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
  const std::int64_t encode_bytes = static_cast<std::int64_t>(s_.backend.encode_workspace_bytes(tables));
  const std::int64_t worker_bytes = layout::round_up(staging_bytes + encode_bytes, layout::kLineBytes);
  Buffer buffer;
  std::uint8_t* scratch = buffer.at_least(worker_bytes * threads.num_threads());
  const int heads = s_.config.num_kv_heads;
  const auto encode_from = [&](std::int64_t begin, std::int64_t end) {
    threads.run((end - begin) * heads, [&](std::int64_t item, int worker) {
      encode(begin + item / heads, static_cast<int>(item % heads), scratch + worker * worker_bytes);
    });
  };
  // A sketch takes its outlier channels from the first page, so that one comes before all others.
  const std::int64_t alone = tables.shape.outlier_channels > 0 && span_.first_page == 0 ? 1 : span_.first_page;
  if (span_.first_page < alone) encode_from(span_.first_page, alone);
  encode_from(std::max(span_.first_page, alone), span_.end_page);
}

void HostAppend::encode(std::int64_t page_idx, int kv_head, std::uint8_t* scratch) {
  const CodecTables& tables = s_.tables(layer_idx_);
  const std::int64_t dim = s_.config.head_dim;
  auto* staging = reinterpret_cast<std::uint16_t*>(scratch);
  const std::uint16_t* tail_keys = layer_.tail ? layer_.tail->keys(kv_head, 0) : nullptr;
  const std::uint16_t* tail_values = layer_.tail ? layer_.tail->values(kv_head, 0) : nullptr;
  const bool changed = !changed_.empty();
  const PageRows keys = changed ? changed_rows(page_idx, 0, kv_head) : page_rows(keys_, tail_keys, page_idx, kv_head, staging);
  const PageRows values =
      changed ? changed_rows(page_idx, 1, kv_head) : page_rows(values_, tail_values, page_idx, kv_head, staging + kPage * dim);
  if (misfit_.load(std::memory_order_relaxed)) return;

  const std::int32_t page = page_at(page_idx);
  std::uint8_t* body = s_.pool.body(layer_idx_, kv_head, page);
  layout::PageHead* head = s_.pool.head(layer_idx_, kv_head, page);
  const auto body_bytes = static_cast<std::size_t>(s_.pool.body_bytes(layer_idx_));
  // A reused page still holds old bytes; padding must not depend on them. With outliers a page starts as a copy of the first one:
  // so the channel list comes along without a look inside.
  const bool copies_channels = tables.shape.outlier_channels > 0 && page_idx > 0;
  copies_channels ? std::memcpy(body, s_.pool.body(layer_idx_, kv_head, page_at(0)), body_bytes) : std::memset(body, 0, body_bytes);
  *head = {};

  const auto num_sinks = static_cast<std::uint8_t>(page_idx == 0 ? num_sinks_ : 0);
  const std::uint8_t chooses = copies_channels ? 0 : 1;
  EncodeArgs args{.tables = &tables,
                  .row_dtype = s_.config.tail_dtype,
                  .count = 1,
                  .rows = &keys.data,
                  .token_stride = keys.token_stride,
                  .num_sinks = &num_sinks,
                  .choose_outliers = &chooses,
                  .bodies = &body,
                  .heads = &head,
                  .workspace = scratch + 2 * kPage * dim * static_cast<std::int64_t>(sizeof(std::uint16_t))};
  s_.backend.encode_keys(args);
  args.rows = &values.data;
  args.token_stride = values.token_stride;
  s_.backend.encode_values(args);
  for (std::int64_t t = 0; t < num_sinks; ++t) {
    std::copy_n(keys.data + t * keys.token_stride, dim, sinks_->keys(kv_head, t));
    std::copy_n(values.data + t * values.token_stride, dim, sinks_->values(kv_head, t));
  }
}

// The rows of one page, checked: in place when the caller's are of the right format, else rounded into `staging`.
PageRows HostAppend::page_rows(const TensorView& input, const std::uint16_t* tail, std::int64_t page_idx, int kv_head,
                               std::uint16_t* staging) {
  const std::int64_t first = page_idx * kPage - span_.length;  // in the input; negative when the page starts in the tail
  if (first >= 0 && input.dtype == s_.config.tail_dtype) {
    if (!rows_fit(input, kv_head, first, kPage, input.dtype)) misfit_ = true;
    return {reinterpret_cast<const std::uint16_t*>(row_address(input, kv_head, first)), input.token_stride};
  }
  const std::int64_t from_tail = std::max<std::int64_t>(0, -first);
  if (from_tail > 0) std::copy_n(tail, from_tail * input.dim, staging);
  const bool fits = round_rows(input, kv_head, std::max<std::int64_t>(0, first), kPage - from_tail, s_.config.tail_dtype,
                               staging + from_tail * input.dim);
  if (!fits) misfit_ = true;
  return {staging, input.dim};
}

}  // namespace

void append_on_host(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values,
                    ThreadPool& threads) {
  HostAppend(state, sequence, layer, keys, values).run(threads);
}

}  // namespace qjl
