// What compression does to one text, measured a chunk at a time: both caches read the same tokens, the distributions after each token
// are compared.
//
//   KL = sum_t p[t] (log p[t] - log q[t]),  p with the exact cache, q with the compressed one, nats
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "job.hpp"
#include "scheduler.hpp"

namespace qjl::engine {

class DamageRun {
 public:
  using Done = std::function<void(const Damage&, const std::string& error)>;
  // The caches are its own, beside the scheduler's budget, and go with it.
  DamageRun(const CacheType& type, std::vector<Token> tokens, std::int64_t chunk, Arithmetic arithmetic,
            std::shared_ptr<TicketState> ticket, Done on_done);

  // One chunk; returns false when all are done and on_done was called.
  bool step(Model& model, ThreadPool& threads);
  void end(const std::string& error);

 private:
  void read_chunk(Model& model, ThreadPool& threads);
  void compare(std::int64_t position, std::span<const float> exact, std::span<const float> compressed);

  CacheType type_;
  std::vector<Token> tokens_;
  std::int64_t chunk_, at_ = 0;
  Arithmetic arithmetic_;
  std::shared_ptr<TicketState> ticket_;
  Done on_done_;
  std::unique_ptr<KvCache> exact_, compressed_;
  SequenceId exact_sequence_{}, compressed_sequence_{};
  Damage damage_;
};

}  // namespace qjl::engine
