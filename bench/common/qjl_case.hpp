// Our side of a comparison: one sequence in a KvCache, attended through the public door, the whole call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "qjl/attention.hpp"
#include "qjl/cache.hpp"
#include "qjl/codec.hpp"
#include "qjl/threads.hpp"

namespace qjl::bench {

struct QjlShape {
  std::string cache_type;
  int head_dim = 128;
  int kv_heads = 8;
  std::int64_t tokens = 0;
  std::vector<double> rope = {};  // radians by which each pair of channels, i and i + n, turns at a token
  int layers = 1;
  std::int64_t spare_tokens = kTokensPerPage;  // that steps() may add at most
};

// A cache filled by append() with normal keys and values. The rows of a stretch of 2048 tokens repeat; every page is encoded and
// stored by itself.
class QjlCase {
 public:
  QjlCase(const QjlShape& shape, ThreadPool& threads);

  // Shorter from now on: the first `tokens` tokens.
  void truncate(std::int64_t tokens);
  // One decode step of kv_heads * group query heads at the last position, in the first layer.
  void attend(int group, ThreadPool& threads);
  // What the layers of a model do for a new token, one after another, so many times, then forgotten: attend with its key and value,
  // append them. Seconds of each step, all layers.
  std::vector<double> steps(int group, int count, ThreadPool& threads);
  // Bytes that one attend reads: pages, sinks and tail of the sequence.
  std::int64_t bytes() const;
  // Of the whole fill, on one pair of rows.
  double fill_seconds() const { return fill_seconds_; }
  const QjlShape& shape() const { return shape_; }

 private:
  QjlShape shape_;
  std::unique_ptr<KvCache> cache_;
  SequenceId sequence_{};
  AttendPlan plan_;
  std::vector<float> queries_, out_;
  double fill_seconds_ = 0;
};

// Encoding by itself: append() of whole pages to a fresh sequence of a cache whose memory is resident.
class EncodeCase {
 public:
  EncodeCase(const QjlShape& shape, ThreadPool& threads);
  void run();
  std::int64_t pairs() const { return shape_.tokens * shape_.kv_heads; }

 private:
  QjlShape shape_;
  ThreadPool* threads_;
  std::unique_ptr<KvCache> cache_;
  std::vector<float> keys_, values_;
};

}  // namespace qjl::bench
