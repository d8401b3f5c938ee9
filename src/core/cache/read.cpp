// KvCache::read: a stretch of tokens as fp32 rows, on the host. One item of work per (page, kv head); the open tail is the last page.
//
//   sealed page   what its codes stand for (the verb decode); of page 0 the sinks, exactly
//   open tail     the 16-bit rows, exactly
#include <algorithm>
#include <vector>

#include "decoded_page.hpp"
#include "fail.hpp"
#include "half.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

void check_output(const OutputView& out, const char* name, std::int64_t tokens, const KvCache::State& s) {
  check_device(out.device, s.device, {"read", name});
  require(out.heads == s.config.num_kv_heads && out.tokens == tokens && out.dim == s.config.head_dim, "read", name, " are [",
          out.heads, " heads, ", out.tokens, " tokens, ", out.dim, " channels], wanted [", s.config.num_kv_heads, ", ", tokens,
          ", ", s.config.head_dim, "]");
  require(out.data != nullptr || out.tokens == 0, "read", name, " have a null address, wanted memory of ", out.tokens, " tokens");
}

// One read: tokens [first, end) of a layer.
class Reading {
 public:
  Reading(const KvCache::State& state, const Sequence& sequence, int layer, std::int64_t first, std::int64_t end)
      : s_(state),
        sequence_(sequence),
        rows_(sequence.layers[static_cast<std::size_t>(layer)]),
        layer_(layer),
        first_(first),
        end_(end),
        sealed_(rows_.length / kPage) {}

  void run(const OutputView& keys, const OutputView& values, ThreadPool& threads) const {
    const std::int64_t first_page = first_ / kPage, pages = (end_ - 1) / kPage + 1 - first_page;
    const int heads = s_.config.num_kv_heads;
    std::vector<DecodedPage> workers;
    workers.reserve(static_cast<std::size_t>(threads.num_threads()));
    for (int worker = 0; worker < threads.num_threads(); ++worker) workers.emplace_back(s_, layer_);
    threads.run(pages * heads, [&](std::int64_t item, int worker) {
      const std::int64_t page_idx = first_page + item / heads;
      const int head = static_cast<int>(item % heads);
      if (page_idx < sealed_) {
        DecodedPage& page = workers[static_cast<std::size_t>(worker)];
        page.decode(head, s_.table(sequence_, layer_).pages[static_cast<std::size_t>(page_idx)]);
        copy_decoded(page.keys(), page_idx, head, keys);
        copy_decoded(page.values(), page_idx, head, values);
        if (page_idx > 0 || !rows_.sinks) return;
        copy_exact(rows_.sinks->keys(head, 0), 0, s_.config.codec.sink_tokens, head, keys);
        copy_exact(rows_.sinks->values(head, 0), 0, s_.config.codec.sink_tokens, head, values);
      } else {
        copy_exact(rows_.tail->keys(head, 0), sealed_ * kPage, kPage, head, keys);
        copy_exact(rows_.tail->values(head, 0), sealed_ * kPage, kPage, head, values);
      }
    });
  }

 private:
  float* row(const OutputView& out, int head, std::int64_t position) const {
    return out.data + head * out.head_stride + (position - first_) * out.token_stride;
  }
  void copy_decoded(const float* page, std::int64_t page_idx, int head, const OutputView& out) const {
    const std::int64_t start = page_idx * kPage;
    for (std::int64_t p = std::max(first_, start); p < std::min(end_, start + kPage); ++p) {
      std::copy_n(page + (p - start) * out.dim, out.dim, row(out, head, p));
    }
  }
  // Rows of the positions [start, start + count).
  void copy_exact(const std::uint16_t* rows, std::int64_t start, std::int64_t count, int head, const OutputView& out) const {
    for (std::int64_t p = std::max(first_, start); p < std::min(end_, start + count); ++p) {
      const std::uint16_t* from = rows + (p - start) * out.dim;
      float* to = row(out, head, p);
      for (std::int64_t c = 0; c < out.dim; ++c) to[c] = to_float(from[c], s_.config.tail_dtype);
    }
  }

  const KvCache::State& s_;
  const Sequence& sequence_;
  const Sequence::Layer& rows_;
  int layer_;
  std::int64_t first_, end_, sealed_;
};

}  // namespace

void KvCache::read(SequenceId sequence, int layer, std::int64_t first, const OutputView& keys, const OutputView& values,
                   Queue queue) const {
  const State& s = *state_;
  if (s.gpu) {
    fail(ErrorKind::unsupported, "read", "found a cache on ", device_name(s.device),
         ", wanted one of the host: copy_sequence brings it there");
  }
  const Sequence& found = s.find(sequence, "read");
  s.check_layer(layer, "read");
  const std::int64_t length = found.layers[static_cast<std::size_t>(layer)].length, tokens = keys.tokens;
  require(first >= 0 && tokens >= 0 && first <= length && tokens <= length - first, "read", "the tokens are ", first, " to ",
          first + tokens, ", wanted a stretch of the ", length, " in layer ", layer);
  s.check_kept(found, layer, first, first + tokens, "read", "a stretch");
  check_output(keys, "keys", tokens, s);
  check_output(values, "values", tokens, s);
  ThreadPool& threads = threads_of(queue, "read");
  if (tokens > 0) Reading(s, found, layer, first, first + tokens).run(keys, values, threads);
}

}  // namespace qjl
