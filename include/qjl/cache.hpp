// KvCache: the keys and values of many sequences, all layers and kv heads, in sealed compressed pages and exact open tails.
//
//   sequence = [ page 0 | page 1 | ... | open tail ]     a page is 128 tokens, starts at position 128 i, is sealed when full
//
// A sealed page is read-only and shared by every fork. The same tokens give the same bytes however they arrive, and on every device.
//
// A cache is made for a device: its pages and rows lie there, tensors must too (on a GPU all addresses are looked up), and work goes
// to a queue of it. On a GPU append, fork and truncate put their work on the stream and return: tensors must live until the stream
// is past it; calls on one cache go to one stream, or to streams that the caller orders. Nothing is allocated by append, so that a
// CUDA graph may hold it. Numbers are not looked at when they arrive there, that would take a wait: wait() tells of a NaN or infinity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "qjl/config.hpp"
#include "qjl/device.hpp"
#include "qjl/tensor.hpp"
#include "qjl/threads.hpp"

namespace qjl {

// What the layers of one kind have of a report.
struct LayerMemory {
  std::int64_t num_layers = 0;
  std::int64_t sealed_pages = 0, free_pages = 0, sinks = 0, tails = 0;  // bytes, as below
  std::int64_t kept_tokens = 0;                                         // summed over sequences and layers
  std::int64_t total() const { return sealed_pages + free_pages + sinks + tails; }
};

// Bytes by kind; total() is every byte that the cache holds, empty parts of its last pages included.
struct MemoryReport {
  std::int64_t sealed_pages = 0;  // bodies and heads of pages that some sequence uses
  std::int64_t free_pages = 0;    // bodies and heads once used, now free, still resident
  std::int64_t sinks = 0;
  std::int64_t tails = 0;
  std::int64_t page_tables = 0;   // page tables, reference counts, per-sequence records
  std::int64_t codec_tables = 0;  // signs, frames and sketches
  std::int64_t scratch = 0;       // on a GPU: rounded rows on their way into pages, rows of dropped sequences kept for new ones
  std::int64_t recurrent = 0;     // states of layers without keys (CacheConfig::recurrent_numbers)
  std::int64_t num_tokens = 0;    // tokens held, summed over sequences (a shared token counts once per sequence)
  LayerMemory full, windowed;     // layers that keep all tokens, and those that forget (CacheConfig::layer_retention)
  std::int64_t total() const {
    return sealed_pages + free_pages + sinks + tails + page_tables + codec_tables + scratch + recurrent;
  }

  // Honest bits per number that a cache of this config keeps: (total() - recurrent) * 8 / (2 kept_tokens num_kv_heads head_dim),
  // kept_tokens those of all its layers; 0 when empty. A state is of no token, so it is told apart.
  double bits(const CacheConfig& config) const;
};

// New tokens of one sequence.
struct AppendRequest {
  SequenceId sequence{};
  TensorView keys, values;  // [num_kv_heads, tokens, head_dim]
};

class KvCache {
 public:
  // On the host: reserves address space for max_pages; memory is taken as pages are first used. On a GPU: takes device memory for
  // max_pages and for working space. Errors: invalid_argument (on_seal belongs to the host alone); std::bad_alloc when the system
  // refuses; unsupported when there is no such device, or no room on it.
  explicit KvCache(CacheConfig config, Device device = {});
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const CacheConfig& config() const;
  Device device() const;

  // A new empty sequence. On a GPU it takes device memory for its exact rows unless a dropped one left some.
  SequenceId create();

  // A sequence with the same tokens. Sealed pages are shared; the open tail is copied when either side writes, on a GPU at once.
  // Cost: O(pages).
  // Errors: out_of_pages, only while layers differ in length: pages that some layers have still to write are copied.
  SequenceId fork(SequenceId sequence, Queue queue = {});

  // `onto`, which has whole pages, at least one, goes on with those of `from` up to num_tokens, a multiple of 128: they are shared. The
  // caller knows that both texts begin the same. Pages reserved beyond them stay reserved. Cost: O(pages). Errors: invalid_argument;
  // unsupported where layers forget tokens, or keep a state; nothing has changed then.
  void extend(SequenceId onto, SequenceId from, std::int64_t num_tokens);

  // Keeps the first num_tokens tokens of every layer. A cut inside a sealed page reopens it: its kept tokens become exact rows
  // holding the decoded numbers. num_tokens above the length of the shortest layer is an error. Pages reserved beyond it are
  // given back. Errors: also where a layer has forgotten tokens that it would keep at that length (CacheConfig::layer_retention), and
  // where a recurrent state is of another length: 0, which clears it, and its own are what can be cut to; can_truncate() tells before.
  void truncate(SequenceId sequence, std::int64_t num_tokens, Queue queue = {});
  bool can_truncate(SequenceId sequence, std::int64_t num_tokens) const;

  // Forgets a sequence; its pages return to the pool when no fork uses them.
  void drop(SequenceId sequence);

  // Takes pages now for a total length of num_tokens, so that later appends up to it cannot fail; where layers forget, one append to
  // each layer.
  // Errors: out_of_pages names pages wanted and free, and changes nothing. A sequence has 2^31 - 1 pages at most.
  void reserve(SequenceId sequence, std::int64_t num_tokens);

  // Adds tokens to one layer. keys, values [num_kv_heads, tokens, head_dim]; any dtype, rounded once to tail_dtype.
  // Errors: invalid_argument on shape, memory of another device, and on the host NaN, infinity or overflow of tail_dtype (names the
  // position), out_of_pages; each leaves everything as it was. Cost: one encode per full page and kv head.
  void append(SequenceId sequence, int layer, const TensorView& keys, const TensorView& values, Queue queue = {});

  // The same for many sequences at once, each one once. Errors: as above, of any of them; all are as they were then.
  void append(std::span<const AppendRequest> requests, int layer, Queue queue = {});

  // Tokens [first, first + keys.tokens) of one layer as attend sees them: keys, values [num_kv_heads, tokens, head_dim]. Sinks and the
  // open tail are exact; other tokens of sealed pages are the numbers that their codes stand for.
  // Errors: invalid_argument on a stretch or shape; unsupported on a GPU (copy_sequence, moves.hpp, brings a sequence to the host).
  // Cost: one decode per page and kv head.
  void read(SequenceId sequence, int layer, std::int64_t first, const OutputView& keys, const OutputView& values,
            Queue queue = {}) const;

  // What layers without keys keep of a sequence, config().recurrent_numbers numbers in the host's memory, and of how many tokens they
  // tell; an empty span where all are 0, as in a new sequence. They go with it, the cache never looks inside, and forks share them
  // until one goes on. Valid until the sequence changes.
  std::span<const float> recurrent_state(SequenceId sequence) const;
  std::int64_t recurrent_tokens(SequenceId sequence) const;
  // The state after all tokens that the sequence has by now; `numbers` holds the old one then. Takes no memory after reserve().
  // Errors: invalid_argument on another count of numbers.
  void set_recurrent_state(SequenceId sequence, std::vector<float>& numbers);

  // Until all work on the queue is done; on the host nothing is left to wait for.
  // Errors: invalid_argument when an append since the last wait met a number that tail_dtype cannot hold.
  void wait(Queue queue = {});

  // Tokens of a sequence: in one layer, or the least over all layers.
  std::int64_t num_tokens(SequenceId sequence, int layer) const;
  std::int64_t num_tokens(SequenceId sequence) const;
  // The first token from which on a layer has all of a sequence's; 0 unless it forgets.
  std::int64_t first_kept(SequenceId sequence, int layer) const;

  // Where layers keep unlike numbers of tokens, of those that have the fewest free.
  std::int64_t free_pages() const;

  // Gives the memory of pages that are free back to the system, on the host; on a GPU the pool keeps what it took, and so it does
  // under PinnedPages (moves.hpp).
  void trim();

  // Every byte, by kind.
  MemoryReport memory_report() const;

  // Honest bits per number at this length: memory_report().bits(config()).
  double bits() const;

  // Bytes of one sealed page of one kv head of a layer, head and body together; and the honest bits per number:
  // bits_sealed = page bytes * 8 / (2 * 128 * head_dim), the mean over layers.
  std::int64_t page_bytes(int layer) const;
  double bits_sealed() const;

  // A sealed page as stored, for tests, saving and sending: head and body, owned by the cache, valid until the sequence changes.
  // Errors: unsupported on a GPU; copy_sequence (moves.hpp) brings it to the host.
  struct PageBytes {
    std::span<const std::byte> head;
    std::span<const std::byte> body;
  };
  PageBytes page(SequenceId sequence, int layer, int kv_head, std::int64_t page_idx) const;

  struct State;  // the inside, for src/core only
  const State& state() const { return *state_; }
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace qjl
