// A chunk through the exact cache, whose logits are kept; then through the compressed one, whose logits meet them block by block.
#include "damage.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace qjl::engine {
namespace {

double log_sum_exp(std::span<const float> logits) {
  const float greatest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  return greatest + std::log(sum);
}

std::unique_ptr<KvCache> cache_of(const Model& model, const CacheType& type, std::int64_t tokens) {
  CacheConfig config = model.cache_config(type.codec, tokens);
  type.apply(config);
  return std::make_unique<KvCache>(config);
}

}  // namespace

DamageRun::DamageRun(const CacheType& type, std::vector<Token> tokens, std::int64_t chunk, Arithmetic arithmetic,
                     std::shared_ptr<TicketState> ticket, Done on_done)
    : type_(type),
      tokens_(std::move(tokens)),
      chunk_(chunk),
      arithmetic_(arithmetic),
      ticket_(std::move(ticket)),
      on_done_(std::move(on_done)) {
  damage_.kl.resize(tokens_.size());
  damage_.is_top.resize(tokens_.size());
}

void DamageRun::end(const std::string& error) {
  try {
    if (on_done_) std::exchange(on_done_, {})(damage_, error);
  } catch (const std::exception&) {  // nobody is left to tell
  }
}

bool DamageRun::step(Model& model, ThreadPool& threads) {
  try {
    if (ticket_->is_cancelled) return end("cancelled"), false;
    if (!exact_) {
      const auto size = std::ssize(tokens_);
      exact_ = cache_of(model, {"f16", codec_config("f16")}, size);
      compressed_ = cache_of(model, type_, size);
      exact_sequence_ = exact_->create();
      compressed_sequence_ = compressed_->create();
    }
    read_chunk(model, threads);
  } catch (const std::exception& error) {
    return end(error.what()), false;
  }
  if (at_ < std::ssize(tokens_)) return true;
  const auto first = static_cast<std::size_t>(std::min(chunk_, std::ssize(tokens_)));
  for (std::size_t i = first; i < tokens_.size(); ++i) {
    damage_.mean_kl += damage_.kl[i];
    damage_.same_top += damage_.is_top[i];
  }
  const double count = std::max(1.0, static_cast<double>(tokens_.size() - first));
  damage_.mean_kl /= count;
  damage_.same_top /= count;
  end("");
  return false;
}

// The exact cache reads the whole chunk first; its logits are kept as 32-bit numbers of one chunk.
void DamageRun::read_chunk(Model& model, ThreadPool& threads) {
  const std::int64_t end = std::min(at_ + chunk_, std::ssize(tokens_));
  const auto part = std::span(tokens_).subspan(static_cast<std::size_t>(at_), static_cast<std::size_t>(end - at_));
  const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
  std::vector<float> exact(part.size() * vocab);
  const auto forward = [&](KvCache& cache, SequenceId sequence, const auto& take) {
    const ForwardItem item{sequence, part, ForwardLogits::all, RowKind::prompt};
    model.forward(cache, {&item, 1}, {.arithmetic = arithmetic_, .observe_kv = {}, .on_logits = take}, threads);
  };
  forward(*exact_, exact_sequence_, [&](std::size_t, std::int64_t first, std::span<const float> rows) {
    std::ranges::copy(rows, exact.begin() + first * static_cast<std::int64_t>(vocab));
  });
  forward(*compressed_, compressed_sequence_, [&](std::size_t, std::int64_t first, std::span<const float> rows) {
    threads.run(static_cast<std::int64_t>(rows.size() / vocab), [&](std::int64_t i, int) {
      const auto row = static_cast<std::size_t>(first + i);
      compare(at_ + first + i, std::span(exact).subspan(row * vocab, vocab),
              rows.subspan(static_cast<std::size_t>(i) * vocab, vocab));
    });
  });
  at_ = end;
}

void DamageRun::compare(std::int64_t position, std::span<const float> exact, std::span<const float> compressed) {
  const double p_sum = log_sum_exp(exact), q_sum = log_sum_exp(compressed);
  double kl = 0;
  for (std::size_t t = 0; t < exact.size(); ++t) {
    const double log_p = exact[t] - p_sum, log_q = compressed[t] - q_sum;
    if (std::isfinite(log_p)) kl += std::exp(log_p) * (log_p - log_q);
  }
  const auto at = static_cast<std::size_t>(position);
  damage_.kl[at] = std::max(0.0, kl);
  damage_.is_top[at] = std::ranges::max_element(exact) - exact.begin() == std::ranges::max_element(compressed) - compressed.begin();
}

}  // namespace qjl::engine
