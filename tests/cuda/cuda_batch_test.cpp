// A step of many sequences through CudaAttend: unequal lengths, chunks of new tokens for some, windows and soft caps, one plan.
#include "device_verbs.hpp"
#include "oracle_attention.hpp"
#include "qjl/attention.hpp"
#include "qjl/moves.hpp"
#include "rounding_terms.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kGroup = 3, kDim = 64;

struct Member {
  int tokens, queries;
  bool chunk;  // the queries' own keys and values come with them
};
constexpr Member kMembers[] = {{5, 1, false}, {130, 3, true}, {0, 2, true}, {700, 2, false}, {1500, 4, true}};

// Multiples of 1/64 up to 2: numbers that the cache's format holds.
Rows whole_rows(Integers& random, int heads, int tokens) {
  std::vector<double> numbers(static_cast<std::size_t>(heads) * tokens * kDim);
  for (double& x : numbers) x = (static_cast<int>(random.bits(8)) - 128) / 64.0;
  return make_rows(DType::f32, heads, tokens, kDim, numbers);
}

// One member: all its rows, of which those beyond `tokens` are the chunk, and what it asks.
struct Told {
  Member m;
  Rows keys, values, chunk_keys, chunk_values, queries;
  OnDevice<std::uint8_t> k, v, ck, cv, q;
  OnDevice<float> out, lse;

  Told(Member member, Integers& random, bool zeros)
      : m(member),
        keys(whole_rows(random, kHeads, m.tokens + (m.chunk ? m.queries : 0))),
        values(whole_rows(random, kHeads, keys.tokens)),
        chunk_keys(part_of(keys, keys.tokens - m.queries, m.queries)),
        chunk_values(part_of(values, keys.tokens - m.queries, m.queries)),
        queries(zeros ? make_rows(DType::f32, kHeads * kGroup, m.queries, kDim,
                                  std::vector<double>(static_cast<std::size_t>(kHeads * kGroup * m.queries * kDim)))
                      : whole_rows(random, kHeads * kGroup, m.queries)),
        k(keys.words),
        v(values.words),
        ck(chunk_keys.words),
        cv(chunk_values.words),
        q(queries.words),
        out(queries.number.size()),
        lse(static_cast<std::size_t>(kHeads * kGroup * m.queries)) {}

  static TensorView view(const OnDevice<std::uint8_t>& memory, const Rows& rows, int tokens) {
    TensorView some = rows.view().on(Device::cuda());
    some.data = memory.data();
    some.tokens = tokens;
    return some;
  }
  AttendRequest request(SequenceId sequence) const {
    AttendRequest r;
    r.sequence = sequence;
    r.queries = view(q, queries, m.queries);
    if (m.chunk) r.chunk_keys = view(ck, chunk_keys, m.queries), r.chunk_values = view(cv, chunk_values, m.queries);
    r.out = OutputView::contiguous(out.data(), queries.heads, m.queries, kDim).on(Device::cuda());
    r.lse = lse.data();
    return r;
  }
  int position(int query) const { return keys.tokens - m.queries + query; }
};

std::vector<std::unique_ptr<Told>> attend_to_all(const char* type, const AttendOptions& options, bool zeros) {
  Integers random(14);
  const CacheConfig config = cache_config(type, kDim, 20, 1);
  KvCache cache(config, Device::cuda());
  std::vector<std::unique_ptr<Told>> members;
  std::vector<AttendRequest> requests;
  for (const Member& m : kMembers) {
    members.push_back(std::make_unique<Told>(m, random, zeros));
    const Told& told = *members.back();
    const SequenceId sequence = cache.create();
    cache.append(sequence, 0, Told::view(told.k, told.keys, m.tokens), Told::view(told.v, told.values, m.tokens));
    requests.push_back(told.request(sequence));
  }
  AttendPlan attend;
  attend.make(cache, 0, requests, options);
  attend.run();
  cache.wait();
  return members;
}

constexpr AttendOptions kOptions[] = {{}, {.sliding_window = 200}, {.logit_soft_cap = 3.0f, .sliding_window = 1000}};

// Queries of 0 weigh every token alike: lse is ln of how many there are, whatever their code. A token of the wrong sequence, one
// too many or too few shows. Rounding: sums of that many terms.
TEST(CudaBatch, CountsTheTokensOfEachMember) {
  for (const char* type : {"k2v2", "k3v2", "k4v4", "paper"}) {
    for (const AttendOptions& options : kOptions) {
      for (const auto& told : attend_to_all(type, options, true)) {
        const std::vector<float> lse = told->lse.host();
        for (std::size_t row = 0; row < lse.size(); ++row) {
          const int seen = told->position(static_cast<int>(row) % told->m.queries) + 1;
          const auto window = static_cast<int>(options.sliding_window);
          const double wanted = std::log(window == 0 ? seen : std::min(seen, window));
          ASSERT_NEAR(lse[row], wanted, 8.0 * kUnit * (1.0 + wanted)) << type << ", " << told->m.tokens << " tokens, row " << row;
        }
      }
    }
  }
}

// Exact rows: softmax in doubles. Logits: dots of kDim terms, tanh (4e-7 of the cap), units of log 2. Weights: 2^x within 2^-22,
// for out and for the sum.
TEST(CudaBatch, AttendsToEachMember) {
  for (const AttendOptions& options : kOptions) {
    for (const auto& told : attend_to_all("f16", options, false)) {
      const std::vector<float> out = told->out.host();
      for (int row = 0; row < kHeads * kGroup * told->m.queries; ++row) {
        const int head = row / told->m.queries, query = row % told->m.queries;
        std::vector<oracle::Vector> keys, values;
        double reach = 0.0;
        for (int t = 0; t < told->keys.tokens; ++t) {
          keys.push_back(told->keys.row(head / kGroup, t));
          values.push_back(told->values.row(head / kGroup, t));
          reach = std::max(reach, oracle::norm(keys.back()));
        }
        const oracle::Vector q = told->queries.row(head, query);
        const double scale = 1.0 / std::sqrt(kDim);
        const oracle::Attended wanted =
            oracle::attend(q, keys, values, told->position(query), {scale, options.logit_soft_cap, options.sliding_window});
        const double logit =
            kUnit * (kDim * oracle::norm(q) * reach * scale + 8.0 * wanted.largest_logit) + 4e-7 * options.logit_soft_cap;
        const double bound = 2.0 * 2.0 * (std::expm1(logit) + 4e-7 + kUnit * told->keys.tokens);
        for (int c = 0; c < kDim; ++c) {
          ASSERT_NEAR(out[static_cast<std::size_t>(row) * kDim + c], wanted.out[c], bound)
              << told->m.tokens << " tokens, head " << head << " query " << query;
        }
      }
    }
  }
}

}  // namespace
}  // namespace qjl::test
