// One set of interleaved rounds over everything that the ratios need: memory reads, the best exact kernels, our calls on one thread
// and on two, and the encoders. Every run is cold: other memory is read before it.
#include "quick.hpp"

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "exact_rival.hpp"
#include "qjl_case.hpp"
#include "report.hpp"
#include "stream.hpp"

namespace qjl::bench {
namespace {

constexpr std::int64_t kEncodeTokens = 2048;
constexpr std::int64_t kStreamBytes = std::int64_t{256} << 20;

struct Point {
  int head_dim, group;
};
constexpr Point kPoints[] = {{128, 1}, {128, 4}, {128, 8}, {64, 3}};

class Quick {
 public:
  explicit Quick(const QuickOptions& options)
      : options_(options),
        one_(pinned_pool(1)),
        two_(pinned_pool(2)),
        evictor_(last_level_cache_bytes()),
        exact_memory_(random_bf16(2 * options.tokens * options.kv_heads * 128)),
        k2v2_({"k2v2", 128, options.kv_heads, options.tokens}, *one_),
        k3v2_({"k3v2", 64, options.kv_heads, options.tokens}, *one_),
        encode_k3v2_({"k3v2", 128, options.kv_heads, kEncodeTokens}, *one_),
        encode_k2v2_({"k2v2", 128, options.kv_heads, kEncodeTokens}, *one_) {}

  Json report() {
    add_streams();
    add_exact();
    add_ours();
    run_rounds(variants_, {.seconds = options_.seconds}, &evictor_);
    Json rows = Json::array();
    for (std::size_t i = 0; i < variants_.size(); ++i) rows.push_back(timing_json(variants_[i], work_[i]));
    return {{"ratios", ratios()}, {"rows", rows}, {"checks", checks()}, {"machine", machine_json()}};
  }

 private:
  void add(Variant variant, const Work& work) {
    variants_.push_back(std::move(variant));
    work_.push_back(work);
  }

  void add_streams() {
    for (ThreadPool* pool : {one_.get(), two_.get()}) {
      if (pool == nullptr) continue;
      const Stream stream(exact_memory_, kStreamBytes, *pool);
      for (auto& variant : stream.variants()) {
        variant.name += pool == one_.get() ? "" : ", 2 threads";
        add(std::move(variant), {stream.bytes(), stream.bytes()});
      }
    }
  }

  void add_exact() {
    if (!has_exact_rivals()) {
      std::fprintf(stderr, "%s\n", kNoExactRivals);
      return;
    }
    exact_.reserve(std::size(kPoints));  // variants point into it
    for (const auto& point : kPoints) {
      const ExactJob job{point.head_dim, point.group, options_.kv_heads, options_.tokens, exact_memory_.as<std::uint16_t>()};
      const auto queries = exact_queries(job);
      exact_.push_back({job, find_best(kAllLayouts, job, &evictor_, *one_), queries, std::vector<float>(queries.size())});
      Exact& exact = exact_.back();
      const std::int64_t units = job.tokens * job.kv_heads * job.group, bytes = job.tokens * job.kv_heads * job.head_dim * 4;
      add({name("exact", point),
           [&exact, this] { attend_exact(exact.job, exact.choice, exact.queries.data(), exact.out.data(), *one_); }},
          {units, bytes});
    }
  }

  void add_ours() {
    const auto attend = [&](QjlCase& our, int group, ThreadPool* pool, const std::string& label) {
      if (pool == nullptr) return;
      add({label, [&our, group, pool] { our.attend(group, *pool); }},
          {our.shape().tokens * our.shape().kv_heads * group, our.bytes()});
    };
    for (const int group : {1, 4, 8}) attend(k2v2_, group, one_.get(), name("k2v2", {128, group}));
    attend(k3v2_, 3, one_.get(), name("k3v2", {64, 3}));
    for (const int group : {1, 4}) attend(k2v2_, group, two_.get(), name("k2v2", {128, group}) + ", 2 threads");
    add({"encode k3v2 d=128", [this] { encode_k3v2_.run(); }}, {encode_k3v2_.pairs(), 0});
    add({"encode k2v2 d=128", [this] { encode_k2v2_.run(); }}, {encode_k2v2_.pairs(), 0});
  }

  static std::string name(const std::string& what, const Point& point) {
    return what + " d=" + std::to_string(point.head_dim) + " G=" + std::to_string(point.group);
  }

  // Best seconds for each unit of the variants whose name begins so; 0 when there is none.
  double best(const std::string& prefix, const std::string& end = "") const {
    double least = 0;
    for (std::size_t i = 0; i < variants_.size(); ++i) {
      const std::string& label = variants_[i].name;
      const bool two = label.ends_with(", 2 threads");
      if (!label.starts_with(prefix) || two != (end == ", 2 threads")) continue;
      const double seconds = variants_[i].timing().best / static_cast<double>(work_[i].units);
      least = least == 0 ? seconds : std::min(least, seconds);
    }
    return least;
  }

  static Json ratio(double above, double below) { return above > 0 && below > 0 ? Json(above / below) : Json(nullptr); }

  Json ratios() const {
    const double bytes_per_unit = static_cast<double>(k2v2_.bytes()) / static_cast<double>(options_.tokens * options_.kv_heads);
    const auto against = [&](const std::string& our, const Point& point) {
      return ratio(best(name("exact", point)), best(name(our, point)));
    };
    const auto speedup = [&](const std::string& label) { return ratio(best(label), best(label, ", 2 threads")); };
    return {{"attend_stream_share_g1", ratio(best("stream") * bytes_per_unit, best(name("k2v2", {128, 1})))},
            {"attend_vs_exact_g1", against("k2v2", {128, 1})},
            {"attend_vs_exact_g4", against("k2v2", {128, 4})},
            {"attend_vs_exact_g8", against("k2v2", {128, 8})},
            {"attend_k3v2_d64_g3_vs_exact", against("k3v2", {64, 3})},
            {"attend_two_thread_speedup", speedup(name("k2v2", {128, 4}))},
            {"attend_two_thread_speedup_g1", speedup(name("k2v2", {128, 1}))},
            {"stream_two_thread_speedup", speedup("stream")},
            {"encode_ns_per_pair", best("encode k3v2") * 1e9},
            {"encode_k2v2_ns_per_pair", best("encode k2v2") * 1e9},
            {"stream_gb_per_s", 1e-9 / best("stream")},
            {"exact_stream_share_g1", ratio(best("stream") * 512, best(name("exact", {128, 1})))}};
  }

  Json checks() const {
    Json checks = {{"exact_error_bound", kExactErrorBound}};
    for (const auto& exact : exact_) {
      const Point point{exact.job.head_dim, exact.job.group};
      checks[name("exact", point)] = {{"error", exact_error(point.head_dim, point.group)}, {"kernel", exact.choice.name}};
    }
    return checks;
  }

  struct Exact {
    ExactJob job;
    ExactChoice choice;
    std::vector<std::uint16_t> queries;
    std::vector<float> out;
  };

  QuickOptions options_;
  std::unique_ptr<ThreadPool> one_, two_;
  Evictor evictor_;
  HugeBuffer exact_memory_;
  QjlCase k2v2_, k3v2_;
  EncodeCase encode_k3v2_, encode_k2v2_;
  std::vector<Exact> exact_;
  std::vector<Variant> variants_;
  std::vector<Work> work_;
};

}  // namespace

Json quick_report(const QuickOptions& options) { return Quick(options).report(); }

}  // namespace qjl::bench
