// A batch for the CUDA verbs and what it should give: sequences of unequal length with sealed pages, sinks, a tail and a new chunk,
// cut into pieces, against softmax over decoded numbers in doubles.
#pragma once

#include <memory>

#include "launch.hpp"
#include "sealed_pages.hpp"
#include "softmax_state.hpp"
#include "turns.hpp"

namespace qjl::test {

struct AttendCase {
  std::string cache_type;
  int d = 64;
  int kv_heads = 1;
  int group = 4;
  int queries = 1;
  std::int64_t window = 0;
  float cap = 0.0f;
  std::vector<int> pages = {2};  // of each sequence
  int tail = 77;
  int pages_a_piece = 1000;
  double spread = 1.0;  // of the queries: how peaked the softmax is
  double loud = 1.0;    // keys from token `loud_from` on are so many times as long
  int loud_from = 1280;
  DType query_dtype = DType::f32;
};
inline std::ostream& operator<<(std::ostream& out, const AttendCase& c) {
  return out << c.cache_type << " d=" << c.d << " kv_heads=" << c.kv_heads << " group=" << c.group << " queries=" << c.queries
             << " window=" << c.window << " cap=" << c.cap << " pages=" << c.pages[0] << " tail=" << c.tail << " pieces of "
             << c.pages_a_piece << " loud=" << c.loud;
}

inline constexpr int kSceneSinks = 4;

// One sequence: pages of all kv heads in one block of memory, out of order.
struct Story {
  std::vector<Rows> keys, values;  // [kv_heads]
  Rows queries;
  std::vector<Sealed> sealed;  // [kv_heads]
  std::unique_ptr<Lines> bodies;
  std::vector<layout::PageHead> heads;
  std::vector<std::int32_t> table;
  std::vector<std::uint16_t> key_rows, value_rows;  // [kv_heads, tokens, d]
  std::vector<float> out, lse;                      // [query_heads, queries, d], [query_heads, queries]
  int pages, tokens;

  Story(const AttendCase& c, const CodecTables& tables, int num_pages, Integers& random)
      : pages(num_pages), tokens(num_pages * kTokensPerPage + c.tail + c.queries) {
    const std::int64_t body = layout::body_layout(tables.shape).bytes;
    bodies = std::make_unique<Lines>(static_cast<std::size_t>(std::max<std::int64_t>(1, c.kv_heads * pages * body)));
    heads.resize(static_cast<std::size_t>(c.kv_heads) * pages);
    for (int i = 0; i < pages; ++i) table.push_back(pages - 1 - i);
    for (int h = 0; h < c.kv_heads; ++h) {
      Rows soft = lifelike_rows(random, DType::f16, 1, tokens, c.d);
      for (std::size_t i = std::size_t(c.loud_from) * c.d; i < soft.number.size(); ++i) soft.number[i] *= c.loud;
      keys.push_back(make_rows(DType::f16, 1, tokens, c.d, soft.number));
      values.push_back(lifelike_rows(random, DType::f16, 1, tokens, c.d));
      Rows page_keys = keys[h], page_values = values[h];
      page_keys.tokens = page_values.tokens = pages * kTokensPerPage;
      sealed.push_back(seal(cpu::backend(SimdTarget::scalar), tables, page_keys, page_values, kSceneSinks));
      for (int i = 0; i < pages; ++i) {
        const std::int64_t at = std::int64_t{h} * pages + table[i];
        std::memcpy(bodies->data + at * body, sealed[h].bodies.data + i * body, static_cast<std::size_t>(body));
        heads[at] = sealed[h].heads[i];
      }
      const auto append = [](const Rows& rows, std::vector<std::uint16_t>& to) {
        const auto* words = reinterpret_cast<const std::uint16_t*>(rows.words.data());
        to.insert(to.end(), words, words + rows.words.size() / 2);
      };
      append(keys[h], key_rows), append(values[h], value_rows);
    }
    Rows unscaled = bell_rows(random, DType::f32, c.kv_heads * c.group, c.queries, c.d);
    for (double& x : unscaled.number) x *= c.spread;
    queries = make_rows(c.query_dtype, c.kv_heads * c.group, c.queries, c.d, unscaled.number);
    out.assign(static_cast<std::size_t>(c.kv_heads) * c.group * c.queries * c.d, -1.0f);
    lse.assign(static_cast<std::size_t>(c.kv_heads) * c.group * c.queries, -1.0f);
  }

  AttendArgs args(const AttendCase& c, const CodecTables& tables) const {
    const std::int64_t stride = std::int64_t{tokens} * c.d, body = layout::body_layout(tables.shape).bytes;
    const auto segment = [&](std::int64_t first, std::int64_t count) {
      return ExactRows{key_rows.data() + first * c.d, value_rows.data() + first * c.d, stride, c.d, first, count};
    };
    AttendArgs a{};
    a.tables = &tables;
    a.row_dtype = DType::f16;
    a.queries = queries.words.data();
    a.query_dtype = c.query_dtype;
    a.query_head_stride = std::int64_t{c.queries} * c.d;
    a.query_token_stride = c.d;
    a.num_query_heads = c.kv_heads * c.group;
    a.num_kv_heads = c.kv_heads;
    a.num_queries = c.queries;
    a.first_query_position = tokens - c.queries;
    a.pages = {bodies->data, pages * body, body, heads.data(), pages, 1, table.data(), pages};
    if (pages > 0) a.exact[a.num_exact++] = segment(0, kSceneSinks);
    a.exact[a.num_exact++] = segment(std::int64_t{pages} * kTokensPerPage, c.tail);
    a.exact[a.num_exact++] = segment(tokens - c.queries, c.queries);
    a.softmax_scale = 1.0f / std::sqrt(static_cast<float>(c.d));
    a.logit_soft_cap = c.cap;
    a.sliding_window = c.window;
    return a;
  }
};

// The pieces of a batch, and where they leave their results.
struct Plan {
  std::vector<AttendArgs> requests;
  std::vector<AttendPiece> pieces;
  std::vector<std::int32_t> request_of_piece;
  std::vector<CombineBlock> blocks;
  std::vector<std::vector<float>> results;
  int max_rows = 0;

  void add(const AttendCase& c, Story& story, const CodecTables& tables) {
    const std::int32_t request = static_cast<std::int32_t>(requests.size());
    requests.push_back(story.args(c, tables));
    const int heads = std::min(c.group, kMaxAttendRows), step = std::max(1, kMaxAttendRows / c.group);
    for (int h = 0; h < c.kv_heads; ++h) {
      for (int first_head = 0; first_head < c.group; first_head += heads) {
        const int in_group = std::min(heads, c.group - first_head);
        for (int q = 0; q < c.queries; q += step) {
          const int count = std::min(step, c.queries - q), rows = in_group * count, head = h * c.group + first_head;
          max_rows = std::max(max_rows, rows);
          CombineBlock block{};
          block.first_piece = static_cast<std::int64_t>(pieces.size());
          block.num_heads = in_group;
          block.rows = rows;
          block.out_head_stride = std::int64_t{c.queries} * c.d;
          block.out_token_stride = c.d;
          block.lse_head_stride = c.queries;
          block.out = story.out.data() + head * block.out_head_stride + q * c.d;
          block.lse = story.lse.data() + head * c.queries + q;
          const std::int64_t end = story.tokens - c.queries + q + count,
                             step_tokens = std::int64_t{c.pages_a_piece} * kTokensPerPage;
          for (std::int64_t at = 0; at < end; at += step_tokens) {
            results.emplace_back(static_cast<std::size_t>(rows) * (c.d + 2), std::nanf(""));
            float* out = results.back().data();
            float *max = out + rows * c.d, *sum = max + rows;
            pieces.push_back({h, first_head, in_group, q, count, at, std::min(end, at + step_tokens), out, max, sum, nullptr});
            request_of_piece.push_back(request);
            ++block.num_pieces;
          }
          blocks.push_back(block);
        }
      }
    }
  }

  void run(const CodecTables& tables) const {
    cuda::attend(AttendBatch{&tables, requests.data(), pieces.data(), request_of_piece.data(),
                             static_cast<std::int32_t>(pieces.size()), max_rows});
    cuda::combine({pieces.data(), blocks.data(), static_cast<std::int32_t>(blocks.size()), max_rows, tables.shape.head_dim});
    wait_for_device();
  }
};

}  // namespace qjl::test
