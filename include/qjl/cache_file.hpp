// Saved caches, *.qjlkv.safetensors: sequences of a cache in one file, which any safetensors reader opens. docs/cache_file.md has
// every word and tensor. A file of either side goes on at the other: program, library, Python.
//
// Loading maps the file and attends to its pages in place: they are the system's page cache, shared by all processes that load it,
// and cost no time before they are read. Nobody may write into such a file; saving over it is fine, it puts a new one in its place.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "qjl/cache.hpp"

namespace qjl {

// A tensor beside the cache: layers of a hybrid model that stay exact. Contiguous, f32, f16 or bf16.
struct ExactTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  const void* data = nullptr;
};

// What a file tells beside the cache; all of it may be left out.
struct CacheFileInfo {
  std::string model = {};                                 // its name
  std::vector<std::string> layer_types = {};              // of the model's layers: "full_attention", "sliding_attention" ...
  std::vector<std::vector<std::int64_t>> token_ids = {};  // of each sequence: those it holds, then any that are still to come
  std::map<std::string, std::string> notes = {};          // the writer's own, UTF-8
  std::vector<ExactTensor> exact = {};
};

// Writes sequences of a cache: pages that they share once. The file is there whole or not at all: until the last step the old one
// stays. Cost: a write of every byte, and an fsync.
// Errors: invalid_argument on a sequence that does not exist or stands twice, layers of unequal length, fewer token ids than
// tokens, a recurrent state of another length, RoPEs of unlike pairs, bad names; unsupported with on_seal; io.
void save_cache(const std::string& path, const KvCache& cache, std::span<const SequenceId> sequences,
                const CacheFileInfo& info = {}, Queue queue = {});

// Removes from a folder what killed writers of cache files left there. What cannot be removed stays.
void sweep_cache_parts(const std::string& folder);

struct LoadedCache {
  std::unique_ptr<KvCache> cache;
  std::vector<SequenceId> sequences;  // in the order in which they were saved
  bool is_mapped = false;             // every page is the file's own; false where the system's pages did not allow it, or on a GPU
};

// A file that was opened and whose every number was checked; no page has been read yet.
class CacheFile {
 public:
  // Errors: io; bad_file on what is damaged, truncated, foreign or of a later version (found and wanted).
  explicit CacheFile(const std::string& path);
  ~CacheFile();
  CacheFile(CacheFile&&) noexcept;
  CacheFile& operator=(CacheFile&&) noexcept;

  const CacheConfig& config() const;                    // max_pages: the pages of the file, at least 1
  const CacheFileInfo& info() const;                    // exact tensors point into the file: valid while this object lives
  const std::vector<std::int64_t>& num_tokens() const;  // of each sequence

  // Errors: invalid_argument naming both unless a model of that shape can go on with the file: layers, kv heads, head_dim, windows,
  // recurrent numbers and RoPE, whose frequencies may differ in rounding. Channels may stand in another order (KeyRope::pairs): the
  // caller permutes.
  void check_model(const CacheConfig& model) const;

  // A new cache with these sequences and room for max_pages (0: those of the file). It does not need this object afterwards.
  // Errors: invalid_argument when max_pages is too small; bad_file on a page or row that no cache holds; those of KvCache.
  LoadedCache load(std::int64_t max_pages = 0, Device device = {}, Queue queue = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl
