// What a file must say to be used stands in its notes (notes_of): equal notes, equal bytes of pages.
#include "prefix_store.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <utility>

#include "plan_file.hpp"
#include "qjl/cache_file.hpp"
#include "qjl/error.hpp"
#include "qjl/moves.hpp"

namespace qjl::engine {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".qjlkv.safetensors", kAuto = ".auto-";

// FNV-1a over the pieces of all tokens.
std::string fingerprint_of(const Tokenizer& tokenizer) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3u; };
  for (const std::string& token : tokenizer.data().tokens) {
    for (const char c : token) mix(static_cast<unsigned char>(c));
    mix(0);
  }
  char digits[17] = {};
  std::to_chars(digits, digits + 16, hash, 16);
  return digits;
}

std::int64_t common_pages(std::span<const Token> a, std::span<const Token> b) {
  return (std::ranges::mismatch(a, b).in1 - a.begin()) / kTokensPerPage * kTokensPerPage;
}

bool is_same_codec(const CacheConfig& a, const CacheConfig& b) {
  return cache_type_name(a.codec) == cache_type_name(b.codec) && a.layer_codes == b.layer_codes && a.tail_dtype == b.tail_dtype;
}

}  // namespace

void PrefixStore::check_name(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= 100 && name.front() != '.' && std::ranges::all_of(name, fits)) return;
  throw Error(ErrorKind::invalid_argument, "[prefixes] found a name of " + std::to_string(name.size()) +
                                               " bytes, wanted 1 to 100 of A-Z a-z 0-9 . _ -, the first not a point");
}

PrefixStore::PrefixStore(const Model& model, const Tokenizer& tokenizer, const SchedulerConfig& config,
                         std::span<const std::unique_ptr<TypedCache>> caches)
    : model_(model), config_(config), fingerprint_(model_fingerprint(model)), tokenizer_fingerprint_(fingerprint_of(tokenizer)) {
  std::error_code error;
  if (!fs::is_directory(config.prefix_dir, error)) {
    throw Error(ErrorKind::io, "[prefixes] found no folder `" + config.prefix_dir + "`, wanted one for saved prefixes");
  }
  sweep_cache_parts(config.prefix_dir);
  std::vector<std::string> paths;
  for (fs::directory_iterator at(config.prefix_dir, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().ends_with(kSuffix) && at->is_regular_file(error)) paths.push_back(at->path().string());
  }
  std::ranges::sort(paths);
  for (const std::string& path : paths) entries_.push_back(read(path, caches));
}

std::string PrefixStore::path_of(const std::string& name) const {
  return (fs::path(config_.prefix_dir) / (name + std::string(kSuffix))).string();
}

std::map<std::string, std::string> PrefixStore::notes_of(const PrefixKey& key) const {
  return {{"model_fingerprint", fingerprint_},
          {"tokenizer_fingerprint", tokenizer_fingerprint_},
          {"arithmetic", config_.arithmetic == Arithmetic::fast ? "fast" : "exact"},
          {"reproducible", config_.is_reproducible ? "yes" : "no"},
          {"chunk", std::to_string(key.chunk)},
          {"salt", key.salt}};
}

// Faults are told to clients, to whom a file's name is enough.
std::string PrefixStore::without_folder(std::string text) const {
  const std::string folder = (fs::path(config_.prefix_dir) / "").string();
  for (auto at = text.find(folder); at != std::string::npos; at = text.find(folder, at)) text.erase(at, folder.size());
  return text;
}

// Everything but the pages is looked at; a fault keeps the file out of use, not out of the list.
PrefixStore::Entry PrefixStore::read(const std::string& path, std::span<const std::unique_ptr<TypedCache>> caches) const {
  const std::string file = fs::path(path).filename().string();
  Entry entry{{.name = file.substr(0, file.size() - kSuffix.size()), .is_named = !file.starts_with(kAuto)}, path};
  try {
    std::error_code error;
    entry.info.bytes = static_cast<std::int64_t>(fs::file_size(path, error));
    const CacheFile saved(path);
    const CacheFileInfo& info = saved.info();
    entry.info.cache_type = cache_type_name(saved.config().codec);
    if (saved.num_tokens().size() != 1 || info.token_ids.empty() || !info.exact.empty())
      throw Error(ErrorKind::bad_file, "it holds no single sequence with its token ids");
    entry.info.tokens = saved.num_tokens().front();
    const auto note = [&info](const std::string& name) {
      const auto found = info.notes.find(name);
      return found == info.notes.end() ? std::string() : found->second;
    };
    entry.key.salt = note("salt");
    const std::string chunk = note("chunk");
    std::from_chars(chunk.data(), chunk.data() + chunk.size(), entry.key.chunk);
    entry.info.chunk = entry.key.chunk;
    for (const auto& [name, wanted] : notes_of(entry.key)) {
      if (note(name) != wanted)
        throw Error(ErrorKind::bad_file, "its " + name + " is `" + note(name) + "`, wanted `" + wanted + "`");
    }
    const std::int64_t grain = config_.is_reproducible ? std::max<std::int64_t>(entry.key.chunk, kTokensPerPage) : kTokensPerPage;
    if (entry.info.tokens < grain || entry.info.tokens % grain != 0 || std::ssize(info.token_ids.front()) != entry.info.tokens) {
      throw Error(ErrorKind::bad_file, "it has " + std::to_string(entry.info.tokens) + " tokens and " +
                                           std::to_string(info.token_ids.front().size()) + " ids, wanted a multiple of " +
                                           std::to_string(grain) + " and as many ids");
    }
    for (std::size_t i = 0; i < caches.size(); ++i) {
      if (!is_same_codec(saved.config(), caches[i]->cache().config())) continue;
      saved.check_model(caches[i]->cache().config());
      entry.cache_type = static_cast<int>(i);
    }
    if (entry.cache_type < 0) throw Error(ErrorKind::bad_file, "its cache type is not served");
    for (const std::int64_t id : info.token_ids.front()) entry.tokens.push_back(static_cast<Token>(id));
  } catch (const std::exception& error) {
    entry.info.fault = without_folder(error.what());
    entry.cache_type = -1;
    entry.tokens.clear();
  }
  return entry;
}

// The caller holds the mutex.
const PrefixStore::Entry* PrefixStore::longest(int cache_type, const PrefixKey& key, std::span<const Token> prompt,
                                               std::int64_t& tokens) const {
  const Entry* best = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.cache_type != cache_type || entry.key != key) continue;
    const std::int64_t common = common_pages(entry.tokens, prompt);
    if (common <= tokens) continue;
    tokens = common;
    best = &entry;
  }
  return best;
}

void PrefixStore::bring(const PrefixKey& key, std::span<const Token> prompt, TypedCache& typed) {
  PrefixTree& tree = typed.tree();
  const auto whole = prompt.first(prompt.size() - 1);
  const PrefixTree::Match held = tree.find(key, whole);
  std::int64_t tokens = held.tokens;
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    const Entry* found = longest(typed.index(), key, whole, tokens);
    if (found == nullptr) return;
    const_cast<Entry*>(found)->used = ++clock_;
    path = found->path;
  }
  PrefixTree::Node* node = held.tokens > 0 ? tree.node_at(held, held.tokens) : nullptr;
  PrefixTree::pin(node);
  try {
    const LoadedCache loaded = CacheFile(path).load();
    loaded.cache->truncate(loaded.sequences.front(), tokens);
    KvCache& cache = typed.cache();
    const SequenceId sequence = node != nullptr ? tree.fork(*node) : cache.create();
    try {
      extend_sequence(*loaded.cache, loaded.sequences.front(), cache, sequence);
      tree.insert(key, prompt.first(static_cast<std::size_t>(tokens)), sequence, nullptr);
    } catch (...) {
      cache.drop(sequence);
      throw;
    }
    cache.drop(sequence);
  } catch (const std::exception& error) {  // the file went, or broke, after it was looked at: the prompt is read instead
    const std::lock_guard lock(mutex_);
    const auto entry = std::ranges::find(entries_, path, &Entry::path);
    if (entry != entries_.end()) entry->info.fault = without_folder(error.what()), entry->cache_type = -1, entry->tokens.clear();
  }
  PrefixTree::unpin(node);
}

PrefixInfo PrefixStore::save(const std::string& name, const PrefixKey& key, std::span<const Token> tokens, const TypedCache& typed,
                             SequenceId sequence) {
  Entry entry{{.name = name,
               .cache_type = typed.type().name,
               .tokens = std::ssize(tokens),
               .chunk = key.chunk,
               .is_named = !name.starts_with(kAuto)},
              path_of(name),
              key,
              typed.index(),
              {tokens.begin(), tokens.end()}};
  try {
    return write(std::move(entry), typed, sequence);
  } catch (const Error& error) {
    throw Error(error.kind(), without_folder(error.what()));
  }
}

PrefixInfo PrefixStore::write(Entry entry, const TypedCache& typed, SequenceId sequence) {
  CacheFileInfo info{.model = model_.config().name, .notes = notes_of(entry.key)};
  for (const LayerShape& layer : model_.config().layers) {
    info.layer_types.emplace_back(layer.window == 0 ? "full_attention" : "sliding_attention");
  }
  info.token_ids.emplace_back(entry.tokens.begin(), entry.tokens.end());
  save_cache(entry.path, typed.cache(), {&sequence, 1}, info);
  std::error_code error;
  entry.info.bytes = static_cast<std::int64_t>(fs::file_size(entry.path, error));
  const std::lock_guard lock(mutex_);
  entry.used = ++clock_;
  std::erase_if(entries_, [&](const Entry& old) { return old.info.name == entry.info.name; });
  return entries_.emplace_back(std::move(entry)).info;
}

// Of the scheduler's own files the least recently used go, but for those that are to be kept.
void PrefixStore::keep_within_bytes(const std::set<std::string>& kept) {
  const std::lock_guard lock(mutex_);
  std::int64_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.info.is_named ? 0 : entry.info.bytes;
  while (bytes > config_.prefix_dir_bytes) {
    auto oldest = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->info.is_named || kept.contains(entry->info.name)) continue;
      if (oldest == entries_.end() || entry->used < oldest->used) oldest = entry;
    }
    if (oldest == entries_.end()) return;
    std::error_code error;
    fs::remove(oldest->path, error);
    bytes -= oldest->info.bytes;
    entries_.erase(oldest);
  }
}

// Leaves that have no room beside later ones are let be: writing them would remove what has to be written again.
bool PrefixStore::save_idle(std::span<const std::unique_ptr<TypedCache>> caches) {
  std::set<std::string> kept;  // files of the leaves so far
  std::int64_t sum = 0;        // their bytes
  for (const std::unique_ptr<TypedCache>& typed : caches) {
    std::vector<PrefixTree::Leaf> leaves = typed->tree().idle_leaves();
    for (auto leaf = leaves.rbegin(); leaf != leaves.rend(); ++leaf) {
      std::vector<std::string> shorter;  // own files that this one makes superfluous
      {
        const std::lock_guard lock(mutex_);
        std::int64_t saved = 0;
        const Entry* found = longest(typed->index(), leaf->key, leaf->tokens, saved);
        if (saved == std::ssize(leaf->tokens)) {
          if (!found->info.is_named && kept.insert(found->info.name).second) sum += found->info.bytes;
          continue;
        }
        for (const Entry& entry : entries_) {
          if (entry.info.is_named || entry.cache_type != typed->index() || entry.key != leaf->key) continue;
          if (common_pages(entry.tokens, leaf->tokens) == std::ssize(entry.tokens)) shorter.push_back(entry.info.name);
        }
      }
      const std::int64_t bytes = std::ssize(leaf->tokens) / kTokensPerPage * typed->page_bytes();
      if (bytes > config_.prefix_dir_bytes) continue;
      if (sum + bytes > config_.prefix_dir_bytes) return false;
      std::string name;
      std::error_code error;
      do name = std::string(kAuto) + std::to_string(next_auto_++);
      while (fs::exists(path_of(name), error));
      const PrefixInfo written = save(name, leaf->key, leaf->tokens, *typed, leaf->sequence);
      if (sum + written.bytes > config_.prefix_dir_bytes) return remove(name), false;  // a file is a little more than its pages
      for (const std::string& each : shorter) remove(each);
      kept.insert(name);
      keep_within_bytes(kept);
      return true;
    }
  }
  return false;
}

std::vector<PrefixInfo> PrefixStore::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<PrefixInfo> out;
  for (const Entry& entry : entries_) out.push_back(entry.info);
  return out;
}

bool PrefixStore::remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto entry = std::ranges::find(entries_, name, [](const Entry& each) { return each.info.name; });
  if (entry == entries_.end()) return false;
  std::error_code error;
  fs::remove(entry->path, error);
  if (error) throw Error(ErrorKind::io, "[prefixes] the file of `" + name + "` could not be removed: " + error.message());
  entries_.erase(entry);
  return true;
}

}  // namespace qjl::engine
