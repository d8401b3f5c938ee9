// The inside of KvCache: shared by the files of src/core that implement its members (cache, append, truncate, moves, attend).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache_layers.hpp"
#include "layer_groups.hpp"
#include "pool.hpp"
#include "qjl/cache.hpp"
#include "sequence.hpp"

namespace qjl {

using GroupPlaces = std::vector<std::vector<std::int64_t>>;  // of page tables, [groups]
struct GroupLengths {
  std::int64_t shortest, longest;
};

struct KvCache::State : CacheLayers {
  // Errors: invalid_argument; unsupported without that device.
  State(CacheConfig config, Device device);

  // Errors: invalid_argument when the sequence does not exist; the operation is named.
  const Sequence& find(SequenceId id, std::string_view operation) const;
  Sequence& find(SequenceId id, std::string_view operation);
  // Errors: out_of_pages unless `wanted` pages of a group are free; of each group as many as there are places.
  void check_free(int group, std::int64_t wanted, std::string_view operation) const;
  void check_free(const GroupPlaces& places, std::string_view operation) const;

  // Errors: unsupported when layers forget tokens.
  void check_keeps_all(std::string_view operation) const;
  // The numbers of a recurrent state in memory that no fork shares.
  void own_recurrent_state(Sequence& sequence) const;
  // Errors: unsupported when layers without keys keep a state.
  void check_no_recurrent_state(std::string_view operation) const;

  CacheLayer layer(int index) const { return {this, index, pool.places(index)}; }
  // What a sequence holds in a layer.
  HeldTokens held(const Sequence& sequence, int layer) const;

  const PageTable& table(const Sequence& sequence, int layer) const {
    return sequence.tables[static_cast<std::size_t>(groups.index_of(layer))];
  }
  // Places from `begin` on where a group's table has pages that some layer has sealed.
  std::vector<std::int64_t> held_places(const Sequence& sequence, int group, std::int64_t begin) const;
  GroupLengths lengths(const Sequence& sequence, int group) const;
  // Whether a layer has sealed a page and still has it; the first token from which on it has all.
  bool has_page(const Sequence& sequence, int layer, std::int64_t page) const;
  std::int64_t first_kept(const Sequence& sequence, int layer) const;
  // Whether it has all of the tokens [first, end) that it has sealed. Errors: invalid_argument, "WHAT needs tokens from 700 on, ..."
  bool has_tokens(const Sequence& sequence, int layer, std::int64_t first, std::int64_t end) const;
  void check_kept(const Sequence& sequence, int layer, std::int64_t first, std::int64_t end, std::string_view operation,
                  std::string_view what) const;
  // A layer has more tokens now: it lets go of those that it need not keep, and pages that no layer has go back to the pool.
  void grow(Sequence& sequence, int layer, std::int64_t num_tokens) noexcept;
  void forget(Sequence& sequence, int group) noexcept;

  // An empty one, on a GPU with memory for its rows; and the id of one that has come to be: the last step, only memory may lack, and
  // then the sequence is as it was.
  Sequence new_sequence();
  std::int64_t rows_bytes() const;  // of a sequence on a GPU
  SequenceId add(Sequence&& sequence);

  LayerGroups groups;
  PagePool pool;
  std::unordered_map<std::int64_t, Sequence> sequences;
  std::int64_t next_id = 1;
};

// Places of a page table that are filled from the pool, which has the pages; empty again, and the pages back, unless they are kept.
class FilledPlaces {
 public:
  FilledPlaces(PagePool& pool, int group, std::vector<std::int32_t>& table, std::vector<std::int64_t> places);
  ~FilledPlaces();
  FilledPlaces(const FilledPlaces&) = delete;
  FilledPlaces& operator=(const FilledPlaces&) = delete;

  void keep() noexcept { pages_.clear(); }

 private:
  PagePool& pool_;
  int group_;
  std::vector<std::int32_t>& table_;
  std::size_t size_before_;
  std::vector<std::int64_t> places_;
  std::vector<std::int32_t> pages_;
};

// The same of all tables of a sequence.
class FilledTables {
 public:
  FilledTables(PagePool& pool, Sequence& sequence, const GroupPlaces& places);
  void keep() noexcept {
    for (const auto& each : filled_) each->keep();
  }

 private:
  std::vector<std::unique_ptr<FilledPlaces>> filled_;
};

}  // namespace qjl
