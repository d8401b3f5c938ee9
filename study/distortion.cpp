// distortion.hpp has the formulas.
#include "distortion.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "qjl/codec.hpp"

namespace qjl::engine {
namespace {

// Sums of which the errors are ratios, so that heads can be put together.
struct Sums {
  double key_error = 0, keys = 0, value_error = 0, values = 0, score_variance = 0, queries = 0, output_error = 0, outputs = 0;

  void add(const Sums& other) {
    key_error += other.key_error, keys += other.keys, value_error += other.value_error, values += other.values;
    score_variance += other.score_variance, queries += other.queries;
    output_error += other.output_error, outputs += other.outputs;
  }
  Distortion distortion() const {
    const auto root_ratio = [](double a, double b) { return b > 0 ? std::sqrt(a / b) : 0.0; };
    return {root_ratio(key_error, keys), root_ratio(value_error, values), root_ratio(score_variance, queries),
            root_ratio(output_error, outputs)};
  }
};

// What one kv head's sealed pages stand for, [tokens, dim].
struct DecodedHead {
  std::vector<float> keys, values;
};

// Errors of one kv head over tokens [first, end).
class HeadComparison {
 public:
  HeadComparison(const CapturedLayer& exact, const DecodedHead& decoded, std::int64_t kv_head, std::int64_t first, std::int64_t end)
      : exact_(exact), decoded_(decoded), kv_head_(kv_head), first_(first), end_(end), dim_(exact.keys.dim) {}

  Sums sums() const {
    Sums sums;
    for (std::int64_t t = first_; t < end_; ++t) {
      add_row(exact_.keys.row(kv_head_, t), row(decoded_.keys, t), sums.key_error, sums.keys);
      add_row(exact_.values.row(kv_head_, t), row(decoded_.values, t), sums.value_error, sums.values);
    }
    const std::int64_t group = exact_.queries.heads / exact_.keys.heads;
    for (std::int64_t head = kv_head_ * group; head < (kv_head_ + 1) * group; ++head) {
      for (std::int64_t i = 0; i < exact_.queries.tokens; ++i) add_query(exact_.queries.row(head, i), sums);
    }
    return sums;
  }

 private:
  std::span<const float> row(const std::vector<float>& rows, std::int64_t t) const {
    return std::span(rows).subspan(static_cast<std::size_t>(t * dim_), static_cast<std::size_t>(dim_));
  }
  static void add_row(std::span<const float> exact, std::span<const float> decoded, double& error, double& norm) {
    for (std::size_t c = 0; c < exact.size(); ++c) {
      const double x = exact[c], difference = decoded[c] - x;
      error += difference * difference;
      norm += x * x;
    }
  }
  // Sixteen partial sums: the compiler may not reorder one.
  static float dot(std::span<const float> a, std::span<const float> b) {
    float sums[16] = {};
    for (std::size_t c = 0; c < a.size(); c += 16) {  // head_dim is a multiple of 16
      for (std::size_t lane = 0; lane < 16; ++lane) sums[lane] += a[c + lane] * b[c + lane];
    }
    float sum = 0;
    for (const float part : sums) sum += part;
    return sum;
  }
  static void softmax(std::vector<float>& scores) {
    const float largest = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (float& s : scores) total += s = std::exp(s - largest);
    for (float& s : scores) s = static_cast<float>(s / total);
  }

  // A query of the last page reads the pages before it in coded form, and its own exactly.
  std::int64_t query_end() const { return end_ > kTokensPerPage ? end_ - kTokensPerPage : end_; }

  void add_query(std::span<const float> query, Sums& sums) const {
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim_));
    const auto count = static_cast<std::size_t>(query_end() - first_);
    std::vector<float> exact(count), coded(count);
    double sum = 0, squares = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t t = first_ + static_cast<std::int64_t>(i);
      exact[i] = scale * dot(query, exact_.keys.row(kv_head_, t));
      coded[i] = scale * dot(query, row(decoded_.keys, t));
      const double error = coded[i] - exact[i];
      sum += error;
      squares += error * error;
    }
    const auto n = static_cast<double>(count);
    sums.score_variance += std::max(0.0, squares / n - sum / n * (sum / n));
    sums.queries += 1;
    softmax(exact);
    softmax(coded);
    std::vector<float> out(query.size()), coded_out(query.size());
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t t = first_ + static_cast<std::int64_t>(i);
      const auto value = exact_.values.row(kv_head_, t), coded_value = row(decoded_.values, t);
      for (std::size_t c = 0; c < out.size(); ++c) {
        out[c] += exact[i] * value[c];
        coded_out[c] += coded[i] * coded_value[c];
      }
    }
    add_row(out, coded_out, sums.output_error, sums.outputs);
  }

  const CapturedLayer& exact_;
  const DecodedHead& decoded_;
  std::int64_t kv_head_, first_, end_, dim_;
};

DecodedHead decode_head(const KvCache& cache, SequenceId sequence, int layer, int kv_head, std::int64_t pages) {
  const PageCodec codec(cache.config().head_dim, layer_codec(cache.config(), layer));
  DecodedHead decoded;
  for (std::int64_t page = 0; page < pages; ++page) {
    const auto bytes = cache.page(sequence, layer, kv_head, page);
    const EncodedPage encoded{{bytes.head.begin(), bytes.head.end()}, {bytes.body.begin(), bytes.body.end()}};
    const auto keys = codec.decode_keys(encoded), values = codec.decode_values(encoded);
    decoded.keys.insert(decoded.keys.end(), keys.begin(), keys.end());
    decoded.values.insert(decoded.values.end(), values.begin(), values.end());
  }
  return decoded;
}

std::vector<Sums> sums_of_heads(TrialCache& trial, const CapturedLayer& layer, std::int64_t first_token, ThreadPool& threads) {
  trial.append_prompt(layer.layer, layer.keys.view(), layer.values.view(), threads);
  const std::int64_t pages = layer.keys.tokens / kTokensPerPage;
  std::vector<Sums> heads(static_cast<std::size_t>(layer.keys.heads));
  threads.run(layer.keys.heads, [&](std::int64_t head, int) {
    const auto decoded = decode_head(trial.cache(), trial.sequence(), layer.layer, static_cast<int>(head), pages);
    const HeadComparison comparison(layer, decoded, head, first_token, pages * kTokensPerPage);
    heads[static_cast<std::size_t>(head)] = comparison.sums();
  });
  return heads;
}

}  // namespace

std::vector<Distortion> compare_heads(TrialCache& trial, const CapturedLayer& layer, std::int64_t first_token,
                                      ThreadPool& threads) {
  std::vector<Distortion> heads;
  for (const Sums& head : sums_of_heads(trial, layer, first_token, threads)) heads.push_back(head.distortion());
  return heads;
}

Distortion compare_layer(TrialCache& trial, const CapturedLayer& layer, std::int64_t first_token, ThreadPool& threads) {
  Sums total;
  for (const Sums& head : sums_of_heads(trial, layer, first_token, threads)) total.add(head);
  return total.distortion();
}

}  // namespace qjl::engine
