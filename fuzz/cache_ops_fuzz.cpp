// Any order of cache operations against a plain count of tokens: lengths agree, an error changes nothing, attention over finite
// numbers is finite, and when all sequences are dropped every page is free again.
#include <cmath>
#include <map>
#include <vector>

#include "fuzz_input.hpp"
#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "qjl/error.hpp"

using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

constexpr int kHeads = 2;
constexpr int kDim = 64;
constexpr std::int64_t kPages = 5;
constexpr std::size_t kMostSequences = 6;

// Uniform in [-2, 2) from a plain generator: a normal one would take most of the time.
std::vector<float> random_rows(std::int64_t tokens, std::uint32_t seed) {
  std::vector<float> out(static_cast<std::size_t>(kHeads * tokens * kDim));
  for (float& x : out) x = static_cast<float>(static_cast<std::int32_t>(seed = seed * 1664525u + 1013904223u)) * 0x1p-30f;
  return out;
}

class Session {
 public:
  explicit Session(const char* cache_type)
      : cache_({.num_layers = 1,
                .num_kv_heads = kHeads,
                .head_dim = kDim,
                .max_pages = kPages,
                .codec = qjl::codec_config(cache_type),
                .layer_codes = {},
                .on_seal = {}}) {}

  void step(FuzzInput& input) {
    const std::size_t verb = input.below(8);
    if (lengths_.empty() || (verb == 0 && lengths_.size() < kMostSequences)) {
      lengths_[cache_.create()] = 0;
      return;
    }
    const auto chosen = std::next(lengths_.begin(), static_cast<std::ptrdiff_t>(input.below(lengths_.size())));
    const qjl::SequenceId id = chosen->first;
    switch (verb) {
      case 1:
        if (lengths_.size() < kMostSequences) lengths_[cache_.fork(id)] = chosen->second;
        break;
      case 2: truncate(id, static_cast<std::int64_t>(input.below(700))); break;
      case 3:
        cache_.drop(id);
        lengths_.erase(id);
        break;
      case 4: attend(id, static_cast<std::int64_t>(1 + input.below(4)), input.number<std::uint32_t>()); break;
      case 5: reserve(id, static_cast<std::int64_t>(input.below(900))); break;
      default: append(id, static_cast<std::int64_t>(input.below(300)), input.number<std::uint32_t>()); break;
    }
    check();
  }

  void finish() {
    while (!lengths_.empty()) {
      cache_.drop(lengths_.begin()->first);
      lengths_.erase(lengths_.begin());
    }
    require(cache_.free_pages() == kPages, "dropping every sequence frees every page");
    require(cache_.memory_report().num_tokens == 0, "no tokens are left");
  }

 private:
  void append(qjl::SequenceId id, std::int64_t tokens, std::uint32_t seed) {
    std::vector<float> keys = random_rows(tokens, seed);
    const std::vector<float> values = random_rows(tokens, seed + 1);
    const bool broken = seed % 16 == 0 && tokens > 0;
    if (broken) keys[seed / 16 % keys.size()] = std::nanf("");
    const auto view = [&](const std::vector<float>& rows) {
      return qjl::TensorView::contiguous(rows.data(), qjl::DType::f32, kHeads, tokens, kDim);
    };
    try {
      cache_.append(id, 0, view(keys), view(values), threads_);
      require(!broken, "NaN is refused");
      lengths_[id] += tokens;
    } catch (const qjl::Error&) {
    }
  }

  void truncate(qjl::SequenceId id, std::int64_t tokens) {
    try {
      cache_.truncate(id, tokens);
      require(tokens <= lengths_[id], "a cut beyond the end is refused");
      lengths_[id] = tokens;
    } catch (const qjl::Error& error) {
      require(tokens > lengths_[id] || error.kind() == qjl::ErrorKind::out_of_pages, "a cut inside is done");
    }
  }

  void reserve(qjl::SequenceId id, std::int64_t tokens) {
    try {
      cache_.reserve(id, tokens);
    } catch (const qjl::Error&) {
    }
  }

  void attend(qjl::SequenceId id, std::int64_t tokens, std::uint32_t seed) {
    const std::vector<float> queries = random_rows(tokens, seed);
    std::vector<float> out(queries.size(), std::nanf(""));
    std::vector<float> lse(static_cast<std::size_t>(kHeads * tokens), std::nanf(""));
    qjl::AttendRequest request;
    request.sequence = id;
    request.queries = qjl::TensorView::contiguous(queries.data(), qjl::DType::f32, kHeads, tokens, kDim);
    request.out = qjl::OutputView::contiguous(out.data(), kHeads, tokens, kDim);
    request.lse = lse.data();
    if (seed % 2 == 0) request.chunk_keys = request.chunk_values = request.queries;
    qjl::AttendOptions options;
    options.sliding_window = seed % 3 == 0 ? static_cast<std::int64_t>(seed % 200) : 0;
    options.logit_soft_cap = seed % 5 == 0 ? 10.0f : 0.0f;
    qjl::attend(cache_, 0, {&request, 1}, options, plan_, threads_);
    const std::int64_t first = request.chunk_keys.empty() ? lengths_[id] - tokens : lengths_[id];
    for (std::int64_t row = 0; row < kHeads * tokens; ++row) {
      const bool empty = first + row % tokens < 0;
      const float sum = lse[static_cast<std::size_t>(row)];
      require(empty ? sum == -HUGE_VALF : std::isfinite(sum), "the log-sum-exp is finite, or -infinity where there are no tokens");
      for (std::int64_t d = 0; d < kDim; ++d) {
        const float x = out[static_cast<std::size_t>(row * kDim + d)];
        require(empty ? x == 0 : std::isfinite(x), "the output is finite, or 0 where there are no tokens");
      }
    }
  }

  void check() {
    std::int64_t sum = 0;
    for (const auto& [id, length] : lengths_) {
      require(cache_.num_tokens(id) == length, "lengths agree");
      sum += length;
    }
    const qjl::MemoryReport report = cache_.memory_report();
    require(report.num_tokens == sum, "the report counts every token");
    require(cache_.free_pages() >= 0 && cache_.free_pages() <= kPages, "pages are neither lost nor made");
  }

  qjl::ThreadPool threads_{1};
  qjl::KvCache cache_;
  qjl::AttendPlan plan_;
  std::map<qjl::SequenceId, std::int64_t> lengths_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr const char* kTypes[] = {"k3v2", "k2v2", "k4v4", "k1v1", "f16", "paper"};
  FuzzInput input(data, size);
  Session session(kTypes[input.below(std::size(kTypes))]);
  for (int steps = 0; steps < 60 && !input.empty(); ++steps) session.step(input);
  session.finish();
  return 0;
}
