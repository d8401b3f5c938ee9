// Every type of number that may arrive, in caches of both 16-bit formats: rounded as the host rounds, and attended to as it stands.
#include "device_verbs.hpp"
#include "qjl/attention.hpp"
#include "qjl/moves.hpp"
#include "rounding_terms.hpp"

namespace qjl::test {
namespace {

constexpr int kHeads = 2, kGroup = 3, kDim = 64;
constexpr DType kAll[] = {DType::f32, DType::f16, DType::bf16}, kTails[] = {DType::f16, DType::bf16};

CacheConfig rounded_config(const char* type, DType tail) {
  CacheConfig config = cache_config(type, kDim, 4, 1);
  config.tail_dtype = tail;
  return config;
}

TensorView on_device(const OnDevice<std::uint8_t>& memory, const Rows& rows) {
  TensorView view = rows.view().on(Device::cuda());
  view.data = memory.data();
  return view;
}

std::vector<float> attend_on_host(const KvCache& cache, SequenceId sequence, const Rows& queries) {
  std::vector<float> out(queries.number.size());
  AttendRequest request;
  request.sequence = sequence;
  request.queries = queries.view();
  request.out = OutputView::contiguous(out.data(), queries.heads, queries.tokens, kDim);
  AttendPlan plan;
  ThreadPool threads(1);
  attend(cache, 0, std::span(&request, 1), {}, plan, threads);
  return out;
}

// Pages, sinks and the open page: the host attends to what the device rounded and to what it rounded itself, to the same bits.
TEST(CudaDtypes, AreRoundedAsTheHostRounds) {
  constexpr int kTokens = 200;
  Integers random(8);
  const std::vector<double> keys = lifelike_numbers(random, kHeads, kTokens, kDim),
                            values = lifelike_numbers(random, kHeads, kTokens, kDim);
  const Rows queries = bell_rows(random, DType::f32, kHeads * kGroup, 1, kDim);
  for (const char* type : {"k3v2", "f16", "paper"}) {
    for (const DType tail : kTails) {
      for (const DType dtype : kAll) {
        const Rows k = make_rows(dtype, kHeads, kTokens, kDim, keys), v = make_rows(dtype, kHeads, kTokens, kDim, values);
        const OnDevice<std::uint8_t> device_k(k.words), device_v(v.words);
        KvCache host(rounded_config(type, tail)), back(rounded_config(type, tail));
        KvCache device(rounded_config(type, tail), Device::cuda());
        ThreadPool threads(1);
        const SequenceId on_host = host.create(), sequence = device.create();
        host.append(on_host, 0, k.view(), v.view(), threads);
        device.append(sequence, 0, on_device(device_k, k), on_device(device_v, v));
        device.wait();
        const SequenceId offloaded = copy_sequence(device, sequence, back);
        for (int head = 0; head < kHeads; ++head) {
          const KvCache::PageBytes found = back.page(offloaded, 0, head, 0), wanted = host.page(on_host, 0, head, 0);
          EXPECT_TRUE(std::ranges::equal(found.body, wanted.body) && std::ranges::equal(found.head, wanted.head)) << type;
        }
        EXPECT_EQ(attend_on_host(back, offloaded, queries), attend_on_host(host, on_host, queries))
            << type << " tail " << static_cast<int>(tail) << " from " << static_cast<int>(dtype);
      }
    }
  }
}

// Multiples of 1/64 up to 4: numbers of every type.
Rows whole_rows(Integers& random, DType dtype, int heads, int tokens) {
  std::vector<double> numbers(static_cast<std::size_t>(heads) * tokens * kDim);
  for (double& x : numbers) x = (static_cast<int>(random.bits(9)) - 256) / 64.0;
  return make_rows(dtype, heads, tokens, kDim, numbers);
}

// Rows that no code has touched: softmax in doubles. Logits: dots of kDim terms, and the units of log 2. Weights: 2^x within 2^-22,
// for out and for the sum, which have `tokens` terms.
void check_exact(const Rows& queries, const Rows& keys, const Rows& values, const std::vector<float>& out, const char* what) {
  for (int head = 0; head < queries.heads; ++head) {
    std::vector<oracle::Vector> k, v;
    double reach = 0.0;
    const oracle::Vector q = queries.row(head, 0);
    for (int t = 0; t < keys.tokens; ++t) {
      k.push_back(keys.row(head / kGroup, t));
      v.push_back(values.row(head / kGroup, t));
      reach = std::max(reach, oracle::norm(k.back()));
    }
    const oracle::Attended wanted = oracle::attend(q, k, v, keys.tokens - 1, {.scale = 1.0 / std::sqrt(kDim)});
    const double logit = kUnit * (kDim * oracle::norm(q) * reach / std::sqrt(kDim) + 8.0 * wanted.largest_logit);
    const double bound = 4.0 * 2.0 * (std::expm1(logit) + 4e-7 + kUnit * keys.tokens);
    for (int c = 0; c < kDim; ++c) {
      ASSERT_NEAR(out[static_cast<std::size_t>(head) * kDim + c], wanted.out[c], bound) << what << " head " << head;
    }
  }
}

TEST(CudaDtypes, AreAttendedToAsTheyStand) {
  Integers random(9);
  for (const char* type : {"k2v2", "k3v2", "f16", "paper"}) {
    const int tokens = type == std::string("f16") ? 300 : 100;  // pages of exact rows too, else the open page alone
    for (const DType tail : kTails) {
      KvCache cache(rounded_config(type, tail), Device::cuda());
      const SequenceId sequence = cache.create();
      const Rows keys = whole_rows(random, tail, kHeads, tokens), values = whole_rows(random, DType::f32, kHeads, tokens);
      const OnDevice<std::uint8_t> k(keys.words), v(values.words);
      cache.append(sequence, 0, on_device(k, keys), on_device(v, values));
      for (const DType dtype : kAll) {
        const Rows queries = whole_rows(random, dtype, kHeads * kGroup, 1);
        const OnDevice<std::uint8_t> q(queries.words);
        const OnDevice<float> out(queries.number.size());
        AttendRequest request;
        request.sequence = sequence;
        request.queries = on_device(q, queries);
        request.out = OutputView::contiguous(out.data(), queries.heads, 1, kDim).on(Device::cuda());
        AttendPlan attend;
        attend.make(cache, 0, std::span(&request, 1), {});
        attend.run();
        cache.wait();
        check_exact(queries, keys, values, out.host(), type);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace qjl::test
