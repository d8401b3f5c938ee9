// Saved prefixes: cache files of one folder, found by their tokens like any prefix. docs/cache_file.md has the format.
//
//   NAME.qjlkv.safetensors        written by name       .auto-DIGITS.qjlkv.safetensors        by the scheduler itself
//
// Files that fit model, tokenizer, codec and arithmetic are found; the others are listed with the reason. A file is mapped when a request
// that begins as it does enters; what the tree lacks of it goes into the cache as the pages stand.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "scheduler.hpp"
#include "typed_cache.hpp"

namespace qjl::engine {

class PrefixStore {
 public:
  // Reads the heads of all files; parts that killed writers left are removed. Errors: io when the folder is not one.
  PrefixStore(const Model& model, const Tokenizer& tokenizer, const SchedulerConfig& config,
              std::span<const std::unique_ptr<TypedCache>> caches);

  // The engine's thread. When a file holds a longer beginning of the prompt than the tree does: into the tree with it. The caller has
  // made room for the whole prompt.
  void bring(const PrefixKey& key, std::span<const Token> prompt, TypedCache& typed);
  // Writes the first tokens.size() tokens of a sequence, whole pages. Errors: io, those of save_cache.
  PrefixInfo save(const std::string& name, const PrefixKey& key, std::span<const Token> tokens, const TypedCache& typed,
                  SequenceId sequence);
  // Writes idle prefixes that no file holds, the latest used first while they fit into prefix_dir_bytes, a file a call; files of
  // its own that hold none of these go for it. Returns false when there was nothing to write.
  bool save_idle(std::span<const std::unique_ptr<TypedCache>> caches);

  // Any thread.
  std::vector<PrefixInfo> list() const;
  bool remove(const std::string& name);
  // Errors: invalid_argument.
  static void check_name(const std::string& name);

 private:
  struct Entry {
    PrefixInfo info;
    std::string path;
    PrefixKey key = {};
    int cache_type = -1;  // -1: of none that is served
    std::vector<Token> tokens = {};
    std::uint64_t used = 0;
  };
  Entry read(const std::string& path, std::span<const std::unique_ptr<TypedCache>> caches) const;
  PrefixInfo write(Entry entry, const TypedCache& typed, SequenceId sequence);
  std::string path_of(const std::string& name) const;
  std::map<std::string, std::string> notes_of(const PrefixKey& key) const;
  const Entry* longest(int cache_type, const PrefixKey& key, std::span<const Token> prompt, std::int64_t& tokens) const;
  void keep_within_bytes(const std::set<std::string>& kept);
  std::string without_folder(std::string text) const;

  const Model& model_;
  const SchedulerConfig& config_;
  std::string fingerprint_, tokenizer_fingerprint_;
  mutable std::mutex mutex_;  // of entries_
  std::vector<Entry> entries_;
  std::uint64_t clock_ = 0;
  std::int64_t next_auto_ = 0;
};

}  // namespace qjl::engine
