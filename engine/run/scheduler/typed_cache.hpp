// The cache of one type, its tree of prefixes, and what still fits: a budget of bytes for sealed pages and open rows together.
//
//   pages that may be used = (budget - tables and sinks - live sequences * bytes of open rows) / page_bytes
//
// A live sequence is one that has open rows, or will. Pages of idle prefixes are room that has to be made.
#pragma once

#include <cstdint>
#include <memory>

#include "accounts.hpp"
#include "cache_type.hpp"
#include "model.hpp"
#include "prefix_tree.hpp"

namespace qjl::engine {

// A sequence whose packed bytes have left the pool.
class ParkedSequence {
 public:
  ParkedSequence(const KvCache& from, SequenceId sequence);
  std::int64_t tokens() const { return cache_->num_tokens(sequence_); }
  std::int64_t bytes() const { return cache_->memory_report().total(); }
  // As the rest of `onto`, which has whole pages of it. Errors: out_of_pages.
  void bring_back(KvCache& to, SequenceId onto) const;

 private:
  std::unique_ptr<KvCache> cache_;
  SequenceId sequence_;
};

class TypedCache {
 public:
  // Errors: invalid_argument when the budget does not hold one page and one sequence's open rows (found and wanted).
  TypedCache(const Model& model, const CacheType& type, int index, std::int64_t budget_bytes);

  KvCache& cache() { return *cache_; }
  const KvCache& cache() const { return *cache_; }
  PrefixTree& tree() { return *tree_; }
  const PrefixTree& tree() const { return *tree_; }
  const CacheType& type() const { return type_; }
  int index() const { return index_; }  // among the types served

  std::int64_t page_bytes() const { return page_bytes_; }
  std::int64_t open_row_bytes() const { return open_row_bytes_; }  // of one sequence, sinks and a recurrent state included
  std::int64_t recurrent_bytes() const {                           // of these
    return cache_->config().recurrent_numbers * static_cast<std::int64_t>(sizeof(float));
  }
  std::int64_t capacity_pages() const { return pages_beside(1, fixed_bytes_); }
  std::int64_t capacity_tokens() const { return capacity_pages() * kTokensPerPage + kTokensPerPage - 1; }

  // What others were promised: pages that they have still to take, and how many of them are live.
  struct Promises {
    std::int64_t pages = 0;
    std::int64_t live = 0;
  };
  // Whether `pages` more and one more live sequence fit beside the promises; idle prefixes go for it when that is enough.
  bool make_room(std::int64_t pages, const Promises& others);

  CacheAccount account() const;

  std::int64_t evicted_pages = 0, hits = 0, hit_tokens = 0, misses = 0;

 private:
  std::int64_t pages_beside(std::int64_t live, std::int64_t other_bytes) const;

  CacheType type_;
  int index_;
  std::int64_t budget_bytes_, fixed_bytes_ = 0, page_bytes_ = 0, page_bytes_f16_ = 0, open_row_bytes_ = 0;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<PrefixTree> tree_;
};

}  // namespace qjl::engine
