// Sequences from one cache to another, between host and devices: pages as they are, sinks and open pages exactly.
#pragma once

#include "qjl/cache.hpp"

namespace qjl {

// A sequence of `from` as a new one of `to`, which must be of the same config but for max_pages. The queue is one of the GPU that
// takes part, of `to` where both do. Returns when the copy is there. Errors: invalid_argument, out_of_pages, std::bad_alloc; nothing
// has changed then.
SequenceId copy_sequence(const KvCache& from, SequenceId sequence, KvCache& to, Queue queue = {});

// Tokens of `sequence` beyond those that `onto`, a sequence of `to` with a whole number of pages, has, as they are: `onto` holds the
// beginning of the same text, coded the same way, and then all of it. Waits as copy_sequence. Errors: as above; invalid_argument also
// when `onto` has an open page or more tokens; unsupported where layers forget tokens (CacheConfig::layer_retention).
void extend_sequence(const KvCache& from, SequenceId sequence, KvCache& to, SequenceId onto, Queue queue = {});

// copy_sequence without the wait: what is read must stay as it is, and what is written may be used, once the stream is past it. Pages
// under PinnedPages are copied while the host goes on; rows of sinks and open pages, and pages elsewhere, before the call returns.
SequenceId start_copy_sequence(const KvCache& from, SequenceId sequence, KvCache& to, Queue queue = {});

// Pins the pages of a host's cache while it lives, which must be shorter than the cache does: all of max_pages become resident, and
// copies between them and devices run at the link's speed. KvCache::trim() does nothing meanwhile. Errors: unsupported without a
// device or when the driver refuses.
class PinnedPages {
 public:
  explicit PinnedPages(const KvCache& cache);
  ~PinnedPages();
  PinnedPages(const PinnedPages&) = delete;
  PinnedPages& operator=(const PinnedPages&) = delete;

 private:
  const KvCache& cache_;
};

}  // namespace qjl
