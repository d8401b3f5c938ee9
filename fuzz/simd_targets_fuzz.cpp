// The same rows, pages and queries on every instruction set of this processor, beside the scalar one.
//
//   encoders       the same bytes of bodies and heads
//   decode, score  each within its rounding of the exact number (rounding_terms.hpp), so two within twice that
//   attend         likewise (attend_call.hpp)
//
// What byte loops add is a bound of independent roundings (byte_loop_error.hpp): six standard errors of n of them. Here they may all
// lean one way, at most n / 2 steps in sum, which is sqrt(n / 12) <= sqrt(n / 5) times as much; n is at most the coordinates of a
// query, or the tokens.
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "attend_call.hpp"
#include "cache_config.hpp"
#include "every_code.hpp"
#include "fuzz_input.hpp"
#include "softmax_state.hpp"

using namespace qjl;
using namespace qjl::test;
using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

constexpr int kDims[] = {64, 80, 96, 128, 256};
constexpr double kMostMagnitude = 0x1p30;  // beyond, products of rows and queries leave fp32

const std::vector<std::string>& cache_types() {
  static const std::vector<std::string> types =
      with_every_code({"k1v1", "k2v2", "k3v3", "k4v4", "kl4vs2", "ks2vl16", "kl8vf16", "kf16vl8", "f16", "paper"});
  return types;
}

struct Subject {
  oracle::Format format;
  CodecConstants constants;

  Subject(const std::string& type, int d, DType dtype)
      : format(oracle_format(d, turned_config(type, d), dtype)), constants(d, turned_config(type, d), dtype) {}
  const CodecTables& tables() const { return constants.tables(); }
};

// Null where a codec has no such head_dim. Made once each: in milliseconds.
const Subject* subject(std::size_t type, int d, DType dtype) {
  static std::map<std::tuple<std::size_t, int, DType>, std::unique_ptr<Subject>> known;
  auto [entry, is_new] = known.try_emplace({type, d, dtype});
  if (is_new && made_for(cache_types()[type], d)) entry->second = std::make_unique<Subject>(cache_types()[type], d, dtype);
  return entry->second.get();
}

// Any finite number of 16 bits: infinity and NaN, which a cache refuses, lose the last bit of their exponent.
double number_of(std::uint16_t word, DType dtype) {
  const std::uint16_t exponent = dtype == DType::f16 ? 0x7C00 : 0x7F80;
  if ((word & exponent) == exponent) word = static_cast<std::uint16_t>(word & ~(dtype == DType::f16 ? 0x0400 : 0x0080));
  return dtype == DType::f16 ? double{half_to_float(word)} : double{bfloat_to_float(word)};
}

// Numbers as models have them, at a scale, then changes: rows of zeros, rows of one number, runs of any words.
Rows draw_rows(FuzzInput& input, DType dtype, int tokens, int d) {
  Integers random(input.number<std::uint32_t>());
  Rows rows = make_rows(dtype, 1, tokens, d, lifelike_numbers(random, 1, tokens, d));
  const double scale = std::ldexp(1.0, static_cast<int>(input.below(25)) - 16);
  rows.transform([&](double x) { return x * scale; });
  for (std::size_t changes = input.below(6); changes > 0; --changes) {
    const std::size_t kind = input.below(3), first = input.below(static_cast<std::size_t>(tokens)) * static_cast<std::size_t>(d);
    const std::size_t end = std::min(rows.number.size(), first + (1 + input.below(8)) * static_cast<std::size_t>(d));
    const std::uint16_t word = input.number<std::uint16_t>();
    for (std::size_t i = first; i < end; ++i) {
      rows.set(i, kind == 0 ? 0.0 : number_of(kind == 1 ? word : input.number<std::uint16_t>(), dtype));
    }
  }
  return rows;
}

const std::vector<SimdTarget>& other_targets() {
  static const std::vector<SimdTarget> targets = [] {
    std::vector<SimdTarget> found;
    std::ranges::copy_if(simd_targets(), std::back_inserter(found), [](SimdTarget target) { return target != SimdTarget::scalar; });
    return found;
  }();
  return targets;
}

double largest(const Rows& rows) {
  double most = 0.0;
  for (const double x : rows.number) most = std::max(most, std::abs(x));
  return most;
}

void require_near(double a, double b, double bound, const char* promise) {
  require(std::isfinite(a) && std::isfinite(b) && std::abs(a - b) <= bound, promise);
}

void check_bytes(const Subject& s, const Sealed& first, const AttendScene& scene, SimdTarget target) {
  const Sealed other = seal(cpu::backend(target), s.tables(), scene.keys, scene.values, scene.num_sinks);
  require(std::memcmp(first.bodies.data, other.bodies.data, first.bodies.bytes) == 0, "the same bodies");
  require(std::memcmp(first.heads.data(), other.heads.data(), first.heads.size() * sizeof(layout::PageHead)) == 0,
          "the same heads");
}

std::vector<float> scores_of(const Subject& s, const Sealed& sealed, const Rows& queries, SimdTarget target) {
  const int rows = queries.heads * queries.tokens;
  const Backend& verbs = cpu::backend(target);
  const CodecTables& tables = s.tables();
  const auto* q = reinterpret_cast<const float*>(queries.words.data());
  const auto count = static_cast<std::size_t>(rows);
  std::vector<float> projected(count * static_cast<std::size_t>(layout::key_coordinates(tables.shape))),
      out(count * kTokensPerPage);
  Lines workspace(verbs.attend_workspace_bytes(tables));
  verbs.project_query({&tables, q, rows, sealed.bodies.data + layout::body_layout(tables.shape).outlier_idx, projected.data()});
  verbs.score({&tables, q, projected.data(), rows, &sealed.heads[0], sealed.bodies.data, out.data(), workspace.data});
  return out;
}

Partial attended(const Subject& s, const AttendScene& scene, const Sealed& sealed, const AttendCase& c, SimdTarget target) {
  return run_attend(cpu::backend(target), s.tables(), scene, sealed, c, {0, scene.keys.tokens});
}

// What the others are compared with.
struct ScalarResults {
  const Sealed& sealed;
  Decoded decoded;
  std::vector<float> scores;
  Partial partial;

  ScalarResults(const Subject& s, const AttendScene& scene, const Sealed& pages, const AttendCase& c)
      : sealed(pages),
        decoded(decode(cpu::backend(SimdTarget::scalar), s.tables(), pages)),
        scores(scores_of(s, pages, scene.queries, SimdTarget::scalar)),
        partial(attended(s, scene, pages, c, SimdTarget::scalar)) {}
};

void check_decoded(const Subject& s, const ScalarResults& first, const PlainRows& rows, SimdTarget target) {
  const Decoded other = decode(cpu::backend(target), s.tables(), first.sealed);
  const double terms = 2.0 * kUnit * (projection_norm_terms(s.format.d) + 16.0);
  for (std::size_t i = 0; i < other.keys.size(); ++i) {
    require_near(first.decoded.keys[i], other.keys[i], terms * rows.key_reach, "decoded keys agree");
    require_near(first.decoded.values[i], other.values[i], terms * rows.value_reach, "decoded values agree");
  }
}

void check_scores(const Subject& s, const AttendScene& scene, const ScalarResults& first, const PlainRows& rows,
                  SimdTarget target) {
  const int count = scene.queries.heads * scene.queries.tokens;
  const auto other = scores_of(s, first.sealed, scene.queries, target);
  for (int row = 0; row < count; ++row) {
    const double norm = oracle::norm(scene.queries.row(row / scene.queries.tokens, row % scene.queries.tokens));
    const double bound = 2.0 * kUnit * score_terms(s.format) * norm * rows.key_reach;
    for (int slot = 0; slot < kTokensPerPage; ++slot) {
      const std::size_t at = static_cast<std::size_t>(row) * kTokensPerPage + static_cast<std::size_t>(slot);
      require_near(first.scores[at], other[at], bound, "scores agree");
    }
  }
}

void check_attended(const Subject& s, const AttendScene& scene, const ScalarResults& scalar, const PlainRows& rows,
                    const AttendCase& c, SimdTarget target) {
  const int d = s.format.d, total = scene.keys.tokens;
  const Partial &first = scalar.partial, other = attended(s, scene, scalar.sealed, c, target);
  const double leaning = std::sqrt(std::max(layout::key_coordinates(s.tables().shape), total) / 5.0);
  for (int row = 0; row < c.group * c.queries; ++row) {
    const oracle::Vector q = scene.queries.row(row % c.group, row / c.group);
    const double norm = oracle::norm(q), most = norm * rows.key_reach / std::sqrt(d);
    AddedByBytes added = added_by_bytes(target, s.tables(), s.format, scalar.sealed, q, total);
    added.score *= leaning;
    added.out *= leaning;
    const AttendBounds exact = attend_bounds(s.format, rows, c, norm, most, {}),
                       bound = attend_bounds(s.format, rows, c, norm, most, added);
    const auto r = static_cast<std::size_t>(row);
    require_near(log_sum_exp({first.max[r], first.sum[r]}), log_sum_exp({other.max[r], other.sum[r]}),
                 exact.weight + bound.weight + kUnit * 8.0 * most, "log-sum-exps agree");
    for (std::size_t i = r * static_cast<std::size_t>(d); i < (r + 1) * static_cast<std::size_t>(d); ++i)
      require_near(first.out[i] / first.sum[r], other.out[i] / other.sum[r], exact.out + bound.out, "outputs agree");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input(data, size);
  const std::size_t type = input.below(cache_types().size());
  const int d = kDims[input.below(std::size(kDims))];
  const DType dtype = input.below(2) == 0 ? DType::f16 : DType::bf16;
  const Subject* s = subject(type, d, dtype);
  if (s == nullptr) return 0;
  constexpr std::array<std::array<int, 2>, 7> kShapes = {{{1, 1}, {3, 1}, {4, 1}, {8, 2}, {1, 5}, {32, 1}, {1, 31}}};
  const auto [group, queries] = kShapes[input.below(kShapes.size())];
  const bool has_window = input.below(2) == 1;
  const std::size_t window = input.below(300);
  const AttendCase c{group, queries, has_window ? static_cast<std::int64_t>(window) : 0, input.below(3) == 0 ? 30.0f : 0.0f};
  const int pages = 1 + static_cast<int>(input.below(2)), tail = static_cast<int>(input.below(kTokensPerPage));
  const int sinks = static_cast<int>(input.below(9)), total = pages * kTokensPerPage + tail + queries;
  Rows keys = draw_rows(input, dtype, total, d), values = draw_rows(input, dtype, total, d);
  Integers random(input.number<std::uint32_t>());
  Rows asked = bell_rows(random, DType::f32, group, queries, d);
  const double scale = std::ldexp(1.0, static_cast<int>(input.below(9)) - 6);
  asked.transform([&](double x) { return x * scale; });
  const AttendScene scene{std::move(keys), std::move(values), std::move(asked), sinks, pages * kTokensPerPage, tail};

  const Sealed sealed = seal(cpu::backend(SimdTarget::scalar), s->tables(), scene.keys, scene.values, sinks);
  for (const SimdTarget target : other_targets()) check_bytes(*s, sealed, scene, target);
  if (std::max(largest(scene.keys), largest(scene.values)) > kMostMagnitude) return 0;
  const PlainRows rows(s->tables(), scene, sealed);
  const ScalarResults first(*s, scene, sealed, c);
  for (const SimdTarget target : other_targets()) {
    check_decoded(*s, first, rows, target);
    check_scores(*s, scene, first, rows, target);
    check_attended(*s, scene, first, rows, c, target);
  }
  return 0;
}
