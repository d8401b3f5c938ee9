// The steps, in this order; those after the penalties are llama.cpp's:
//
//   not allowed: l -> -inf;  bias b: l -> l + b
//   repeat penalty r: l -> l / r if l > 0, l * r otherwise, for each token seen lately
//   frequency and presence penalty f, p: l -> l - n f - p, for each token sampled n > 0 times
//   top-k: the k greatest;  top-p: the fewest whose probabilities reach p;  min-p: probability >= p * the greatest
//   temperature T: draw from softmax(l / T);  T = 0: the greatest logit of all
//
// Equal logits go by the lower token, so that a run is the same everywhere. -inf means never.
#include "sampler.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

struct Candidate {
  float logit;
  Token token;
};

bool better(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.token < b.token; }

void check(bool holds, const char* name, double found, const char* wanted) {
  if (holds) return;
  throw Error(ErrorKind::invalid_argument,
              std::string("[sample] found ") + name + " " + std::to_string(found) + ", wanted " + wanted);
}

// A float as an integer of the same order, NaN above or below everything; 0 and -0 are equal. Loops over integers become vectors.
std::int32_t order_of(float number) {
  const auto bits = std::bit_cast<std::int32_t>(number);
  const std::int32_t magnitude = bits & std::numeric_limits<std::int32_t>::max();
  return bits < 0 ? -magnitude : magnitude;
}

// The first of the greatest logits, when all are finite or -inf and one is finite.
Token greatest(std::span<const float> logits) {
  constexpr std::size_t kBlock = 256;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::int32_t infinity = order_of(kInfinity);
  std::int32_t greatest = -infinity;
  std::span<const float> where;  // the block that holds it
  for (std::size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const auto block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    std::int32_t most = -infinity, least = infinity;
    for (const float logit : block) {
      most = std::max(most, order_of(logit));
      least = std::min(least, order_of(logit));
    }
    if (most >= infinity || least < -infinity) {
      const auto bad = std::ranges::find_if(block, [](float x) { return std::isnan(x) || x == kInfinity; });
      throw Error(ErrorKind::invalid_argument, "[sample] found logit " + std::to_string(*bad) + " of token " +
                                                   std::to_string(&*bad - logits.data()) + ", wanted a finite number or -inf");
    }
    if (most <= greatest) continue;
    greatest = most;
    where = block;
  }
  if (where.empty()) throw Error(ErrorKind::invalid_argument, "[sample] found no finite logit, wanted at least one");
  const auto first = std::ranges::find_if(where, [greatest](float x) { return order_of(x) == greatest; });
  return static_cast<Token>(&*first - logits.data());
}

std::vector<Candidate> read_logits(std::span<const float> logits) {
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) candidates.push_back({logits[i], static_cast<Token>(i)});
  return candidates;
}

// Penalties and biases leave finite numbers finite, so that no token becomes impossible, or certain, by them.
float bounded(float logit) {
  constexpr float kGreatest = std::numeric_limits<float>::max();
  return std::clamp(logit, -kGreatest, kGreatest);
}

// Best first, the k best when k > 0.
void keep_top_k(std::vector<Candidate>& candidates, int k) {
  const std::size_t kept = k > 0 ? std::min(candidates.size(), static_cast<std::size_t>(k)) : candidates.size();
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(kept), candidates.end(), better);
  candidates.resize(kept);
}

// exp((l - greatest) / temperature), not normalised; candidates are sorted, best first.
std::vector<double> weights(const std::vector<Candidate>& candidates, double temperature) {
  std::vector<double> out;
  out.reserve(candidates.size());
  const double greatest = candidates.front().logit;
  for (const Candidate& candidate : candidates) out.push_back(std::exp((candidate.logit - greatest) / temperature));
  return out;
}

// The number of first weights whose sum reaches `share` of the total.
std::size_t reach(const std::vector<double>& weight, double share) {
  double total = 0;
  for (const double w : weight) total += w;
  double sum = 0;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    sum += weight[i];
    if (sum >= share * total) return i + 1;
  }
  return weight.size();
}

void keep_min_p(std::vector<Candidate>& candidates, float min_p) {
  const double least = candidates.front().logit + std::log(static_cast<double>(min_p));
  const auto below = [least](const Candidate& candidate) { return candidate.logit < least; };
  candidates.erase(std::find_if(candidates.begin() + 1, candidates.end(), below), candidates.end());
}

// In [0, 1): the same numbers from every standard library, which std::uniform_real_distribution does not promise.
double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

}  // namespace

Sampler::Sampler(const SamplingConfig& config) : config_(config), random_(config.seed) {
  check(std::isfinite(config.temperature) && config.temperature >= 0, "temperature", config.temperature, "0 or more");
  check(config.top_k >= 0, "top_k", config.top_k, "0 (off) or more");
  check(config.top_p > 0 && config.top_p <= 1, "top_p", config.top_p, "above 0, at most 1 (off)");
  check(config.min_p >= 0 && config.min_p <= 1, "min_p", config.min_p, "0 (off) to 1");
  check(std::isfinite(config.repeat_penalty) && config.repeat_penalty > 0, "repeat_penalty", config.repeat_penalty,
        "above 0 (1: off)");
  check(config.repeat_last_n >= 0, "repeat_last_n", config.repeat_last_n, "0 (off) or more");
  check(std::abs(config.frequency_penalty) <= 2, "frequency_penalty", config.frequency_penalty, "-2 to 2 (0: off)");
  check(std::abs(config.presence_penalty) <= 2, "presence_penalty", config.presence_penalty, "-2 to 2 (0: off)");
  for (const auto& [token, bias] : config.logit_bias) {
    check(token >= 0, "logit_bias of token", token, "0 or more");
    check(std::abs(bias) <= 100, "logit_bias", bias, "-100 (never) to 100");
  }
}

void Sampler::accept(Token token) {
  check(token >= 0, "token", token, "0 or more");
  if (config_.repeat_last_n == 0) return;
  if (recent_.size() == static_cast<std::size_t>(config_.repeat_last_n)) recent_.erase(recent_.begin());
  recent_.push_back(token);
}

bool Sampler::changes(const AllowedTokens& allowed) const {
  return !allowed.mask.empty() || !allowed.banned.empty() || !config_.logit_bias.empty() || config_.repeat_penalty != 1.0f ||
         config_.frequency_penalty != 0.0f || config_.presence_penalty != 0.0f;
}

// A copy after everything that comes before top-k.
std::span<const float> Sampler::change(std::span<const float> logits, const AllowedTokens& allowed) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  changed_.assign(logits.begin(), logits.end());
  const auto update = [&](Token token, const auto& work) {
    if (token < 0 || token >= std::ssize(changed_)) return;
    float& logit = changed_[static_cast<std::size_t>(token)];
    if (std::isfinite(logit)) logit = work(logit);
  };
  for (std::size_t i = 0; !allowed.mask.empty() && i < changed_.size(); ++i) {
    const bool may = i / 32 < allowed.mask.size() && (allowed.mask[i / 32] >> (i % 32) & 1) != 0;
    if (!may) changed_[i] = kNever;
  }
  for (const Token token : allowed.banned) update(token, [](float) { return kNever; });
  for (const auto& [token, bias] : config_.logit_bias)
    update(token, [b = bias](float l) { return b == -100.0f ? kNever : bounded(l + b); });
  if (config_.repeat_penalty != 1.0f) {
    const std::set<Token> recent(recent_.begin(), recent_.end());
    const float penalty = config_.repeat_penalty;
    for (const Token token : recent) update(token, [=](float l) { return bounded(l > 0.0f ? l / penalty : l * penalty); });
  }
  if (config_.frequency_penalty == 0.0f && config_.presence_penalty == 0.0f) return changed_;
  for (const auto& [token, times] : sampled_) {
    const float off = config_.frequency_penalty * static_cast<float>(times) + config_.presence_penalty;
    update(token, [=](float l) { return bounded(l - off); });
  }
  return changed_;
}

Token Sampler::sample(std::span<const float> logits, const AllowedTokens& allowed) {
  Token chosen = greatest(logits);
  const bool has_changes = changes(allowed);
  if (has_changes) {
    logits = change(logits, allowed);
    if (std::ranges::none_of(logits, [](float logit) { return std::isfinite(logit); })) return kNoToken;
    chosen = greatest(logits);
  }
  if (config_.temperature != 0.0f) {
    std::vector<Candidate> candidates = read_logits(logits);
    keep_top_k(candidates, config_.top_k);
    if (config_.top_p < 1.0f) candidates.resize(reach(weights(candidates, 1.0), config_.top_p));
    if (config_.min_p > 0.0f) keep_min_p(candidates, config_.min_p);
    // reach() of a share below 1 never passes the last weight that is not 0, so -inf is never drawn.
    chosen = candidates[reach(weights(candidates, config_.temperature), uniform(random_)) - 1].token;
  }
  accept(chosen);
  ++sampled_[chosen];
  return chosen;
}

}  // namespace qjl::engine
