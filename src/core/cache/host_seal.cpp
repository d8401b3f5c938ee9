// Sealing on the host: open and new rows -> the pages that they fill.
//
// Every page is encoded by itself, one item of work per (page, kv head), from rows that were rounded once to 16 bit: its bytes
// depend on its 128 tokens, on its position (sinks) and, for a sketch, on the channels found in the sequence's first page.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "append.hpp"
#include "buffer.hpp"
#include "fail.hpp"
#include "half.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

enum class Side { keys, values };

// 16-bit rows of one page.
struct PageRows {
  const std::uint16_t* data;
  std::int64_t token_stride;
};

class Sealing {
 public:
  explicit Sealing(const AppendRows& rows) : rows_(rows), span_(rows.span), config_(rows.layer.config()) {}

  // Returns whether every number fits its format; where not, what the pages hold is of no use.
  bool run(ThreadPool& threads);

 private:
  void change_rows(ThreadPool& threads);
  PageRows changed_rows(Side side, std::int64_t page_idx, int kv_head) const;
  PageRows exact_rows(Side side, std::int64_t page_idx, int kv_head, std::uint16_t* staging);
  void encode(std::int64_t page_idx, int kv_head, std::uint8_t* scratch);

  const AppendRows& rows_;
  const AppendSpan& span_;
  const CacheConfig& config_;
  std::atomic<bool> misfit_{false};     // some page has a number that the format cannot hold
  std::vector<std::uint16_t> changed_;  // what on_seal left: [new pages, keys and values, kv_heads, 128, head_dim]; else empty
};

// Shows every new page to config.on_seal and keeps what it leaves.
void Sealing::change_rows(ThreadPool& threads) {
  const std::int64_t dim = config_.head_dim, row_block = kPage * dim, side = config_.num_kv_heads * row_block;
  changed_.resize(static_cast<std::size_t>((span_.end_page - span_.first_page) * 2 * side));
  threads.run(span_.end_page - span_.first_page, [&](std::int64_t item, int) {
    const std::int64_t page_idx = span_.first_page + item;
    if (span_.skipped.has(page_idx)) return;
    std::vector<std::uint16_t> staging(static_cast<std::size_t>(row_block));
    std::vector<float> rows(static_cast<std::size_t>(2 * side));
    for (int block = 0; block < 2 * config_.num_kv_heads; ++block) {
      const int head = block % config_.num_kv_heads;
      const PageRows exact = exact_rows(block == head ? Side::keys : Side::values, page_idx, head, staging.data());
      for (std::int64_t i = 0; i < row_block; ++i) {
        rows[static_cast<std::size_t>(block * row_block + i)] =
            to_float(exact.data[i / dim * exact.token_stride + i % dim], config_.tail_dtype);
      }
    }
    const std::span<float> all(rows);
    const auto half = static_cast<std::size_t>(side);
    config_.on_seal({rows_.layer.index, page_idx * kPage, all.first(half), all.last(half)});
    for (const float number : all) require(std::isfinite(number), "append", "on_seal left ", number, ", wanted finite numbers");
    round_decoded(rows.data(), 2 * side, config_.tail_dtype, changed_.data() + item * 2 * side);
  });
}

PageRows Sealing::changed_rows(Side side, std::int64_t page_idx, int kv_head) const {
  const std::int64_t sides = (page_idx - span_.first_page) * 2 + (side == Side::values ? 1 : 0);
  const std::int64_t block = sides * config_.num_kv_heads + kv_head;
  return {changed_.data() + block * kPage * config_.head_dim, config_.head_dim};
}

bool Sealing::run(ThreadPool& threads) {
  if (config_.on_seal) change_rows(threads);
  const CodecTables& tables = rows_.layer.tables();
  const std::int64_t staging_bytes = 2 * kPage * config_.head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
  const std::int64_t encode_bytes = static_cast<std::int64_t>(rows_.layer.backend().encode_workspace_bytes(tables));
  const std::int64_t worker_bytes = layout::round_up(staging_bytes + encode_bytes, layout::kLineBytes);
  Buffer buffer;
  std::uint8_t* scratch = buffer.at_least(worker_bytes * threads.num_threads());
  const int heads = config_.num_kv_heads;
  const auto encode_from = [&](std::int64_t begin, std::int64_t end) {
    threads.run((end - begin) * heads, [&](std::int64_t item, int worker) {
      encode(begin + item / heads, static_cast<int>(item % heads), scratch + worker * worker_bytes);
    });
  };
  // A sketch takes its outlier channels from the first page, so that one comes before all others.
  const std::int64_t alone = tables.shape.outlier_channels > 0 && span_.first_page == 0 ? 1 : span_.first_page;
  if (span_.first_page < alone) encode_from(span_.first_page, alone);
  const std::int64_t rest = std::max(span_.first_page, alone);
  if (span_.skipped.empty()) {
    encode_from(rest, span_.end_page);
  } else {
    encode_from(rest, span_.skipped.begin);
    encode_from(span_.skipped.end, span_.end_page);
  }
  return !misfit_;
}

void Sealing::encode(std::int64_t page_idx, int kv_head, std::uint8_t* scratch) {
  const CodecTables& tables = rows_.layer.tables();
  const PagePlaces& places = rows_.layer.pages;
  const std::int64_t dim = config_.head_dim;
  auto* staging = reinterpret_cast<std::uint16_t*>(scratch);
  const auto rows_of = [&](Side side, std::uint16_t* rounded) {
    return changed_.empty() ? exact_rows(side, page_idx, kv_head, rounded) : changed_rows(side, page_idx, kv_head);
  };
  const PageRows keys = rows_of(Side::keys, staging), values = rows_of(Side::values, staging + kPage * dim);
  if (misfit_.load(std::memory_order_relaxed)) return;

  std::uint8_t* body = places.body(kv_head, rows_.page(page_idx));
  layout::PageHead* head = places.head(kv_head, rows_.page(page_idx));
  const auto body_bytes = static_cast<std::size_t>(places.body_bytes);
  // A reused page still holds old bytes; padding must not depend on them. With outliers a page starts as a copy of an earlier one: so
  // the channel list, which is the first page's, comes along without a look inside.
  const bool copies_channels = tables.shape.outlier_channels > 0 && page_idx > 0;
  copies_channels ? std::memcpy(body, places.body(kv_head, rows_.channel_page), body_bytes) : std::memset(body, 0, body_bytes);
  *head = {};

  const auto num_sinks = static_cast<std::uint8_t>(page_idx == 0 ? rows_.num_sinks() : 0);
  const std::uint8_t chooses = copies_channels ? 0 : 1;
  EncodeArgs args{.tables = &tables,
                  .row_dtype = config_.tail_dtype,
                  .count = 1,
                  .rows = &keys.data,
                  .token_stride = keys.token_stride,
                  .num_sinks = &num_sinks,
                  .choose_outliers = &chooses,
                  .bodies = &body,
                  .heads = &head,
                  .workspace = scratch + 2 * kPage * dim * static_cast<std::int64_t>(sizeof(std::uint16_t))};
  rows_.layer.backend().encode_keys(args);
  args.rows = &values.data;
  args.token_stride = values.token_stride;
  rows_.layer.backend().encode_values(args);
  for (std::int64_t t = 0; t < num_sinks; ++t) {
    std::copy_n(keys.data + t * keys.token_stride, dim, rows_.sinks.key(kv_head, t));
    std::copy_n(values.data + t * values.token_stride, dim, rows_.sinks.value(kv_head, t));
  }
}

// The rows of one page, checked: in place when the caller's are of the right format, else rounded into `staging`.
PageRows Sealing::exact_rows(Side side, std::int64_t page_idx, int kv_head, std::uint16_t* staging) {
  const TensorView& input = side == Side::keys ? rows_.keys : rows_.values;
  const std::int64_t first = page_idx * kPage - span_.length;  // in the input; negative when the page starts in the open rows
  if (first >= 0 && input.dtype == config_.tail_dtype) {
    if (!rows_fit(input, kv_head, first, kPage, input.dtype)) misfit_ = true;
    return {reinterpret_cast<const std::uint16_t*>(row_address(input, kv_head, first)), input.token_stride};
  }
  const std::int64_t from_open = std::max<std::int64_t>(0, -first);
  if (from_open > 0) {
    const std::uint16_t* open = side == Side::keys ? rows_.open.key(kv_head, 0) : rows_.open.value(kv_head, 0);
    std::copy_n(open, from_open * input.dim, staging);
  }
  const bool fits = round_rows(input, kv_head, std::max<std::int64_t>(0, first), kPage - from_open, config_.tail_dtype,
                               staging + from_open * input.dim);
  if (!fits) misfit_ = true;
  return {staging, input.dim};
}

}  // namespace

void check_rows(const AppendRows& rows, ThreadPool& threads) {
  check_numbers(rows.keys, rows.layer.config().tail_dtype, {"append", "keys"}, threads);
  check_numbers(rows.values, rows.layer.config().tail_dtype, {"append", "values"}, threads);
}

bool open_rows_fit(const AppendRows& rows) {
  const CacheConfig& config = rows.layer.config();
  const std::int64_t count = rows.span.open_count(), first = rows.span.open_first();
  for (int head = 0; head < config.num_kv_heads; ++head) {
    if (!rows_fit(rows.keys, head, first, count, config.tail_dtype)) return false;
    if (!rows_fit(rows.values, head, first, count, config.tail_dtype)) return false;
  }
  return true;
}

void seal_on_host(const AppendRows& rows, ThreadPool& threads) {
  if (!rows.span.seals()) return;
  if (rows.layer.config().on_seal) check_rows(rows, threads);  // before it sees them
  if (!Sealing(rows).run(threads)) check_rows(rows, threads);
}

void keep_open_on_host(const AppendRows& rows, RowPlaces open) {
  const CacheConfig& config = rows.layer.config();
  const std::int64_t start = rows.span.open_start(), count = rows.span.open_count(), first = rows.span.open_first();
  for (int head = 0; head < config.num_kv_heads; ++head) {
    round_rows(rows.keys, head, first, count, config.tail_dtype, open.key(head, start));
    round_rows(rows.values, head, first, count, config.tail_dtype, open.value(head, start));
  }
}

}  // namespace qjl
