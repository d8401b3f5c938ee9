// save_cache: gathers the pages of the sequences in the order in which they first stand in one, and streams layer by layer.
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "cache_state.hpp"
#include "cache_tensors.hpp"
#include "fail.hpp"
#include "header_text.hpp"
#include "qjl/moves.hpp"
#include "queue.hpp"
#include "stale_parts.hpp"
#include "whole_file.hpp"

namespace qjl {
namespace {

constexpr const char* kOperation = "save_cache";

template <typename T>
std::span<const std::byte> bytes_of(const T* data, std::int64_t count) {
  return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(count) * sizeof(T)};
}

class Saver {
 public:
  // Errors: invalid_argument.
  Saver(const KvCache::State& state, std::span<const SequenceId> sequences, const CacheFileInfo& info);
  void write(const std::string& path);

 private:
  void add_sequence(SequenceId id);
  using Writer = std::function<void(WholeFile&)>;
  std::map<std::string, Writer> writers() const;
  void write_bodies(WholeFile& file, int layer) const;
  void write_heads(WholeFile& file, int layer) const;
  void write_rows(WholeFile& file, std::size_t sequence, std::shared_ptr<RowBlock> Sequence::Layer::* rows,
                  std::int64_t count) const;

  const KvCache::State& s_;
  CacheContents contents_;
  std::vector<std::vector<std::int64_t>> token_ids_;
  std::vector<const Sequence*> sequences_;
  std::vector<std::vector<std::int64_t>> tables_;  // of each sequence, [groups, sealed pages], in pages of the file
  struct GroupPages {
    std::vector<std::int32_t> pages;  // of the pool, in the order of the file
    std::unordered_map<std::int32_t, std::int64_t> place_of;
  };
  const std::vector<std::int32_t>& pages_of(int layer) const {
    return groups_[static_cast<std::size_t>(s_.groups.index_of(layer))].pages;
  }
  std::vector<GroupPages> groups_;
};

void check_info(const CacheFileInfo& info, std::size_t num_sequences) {
  require(info.token_ids.empty() || info.token_ids.size() == num_sequences, kOperation, "token_ids are of ", info.token_ids.size(),
          " sequences, wanted none or ", num_sequences);
  std::set<std::string> names;
  for (const ExactTensor& exact : info.exact) {
    require(!exact.name.empty() && names.insert(exact.name).second, kOperation, "the exact tensor ", quoted(exact.name),
            " has no name or stands twice, wanted names of their own");
    std::int64_t bytes = dtype_bytes(exact.dtype);
    for (const std::int64_t extent : exact.shape) {
      require(extent >= 0 && !__builtin_mul_overflow(bytes, extent, &bytes), kOperation, "the exact tensor ", quoted(exact.name),
              " has an extent of ", extent, ", wanted 0 or more, less than 2^63 bytes in all");
    }
    const bool is_empty = std::ranges::find(exact.shape, 0) != exact.shape.end();
    require(is_empty || exact.data != nullptr, kOperation, "the exact tensor ", quoted(exact.name), " has no memory, wanted some");
  }
}

Saver::Saver(const KvCache::State& state, std::span<const SequenceId> sequences, const CacheFileInfo& info)
    : s_(state), token_ids_(info.token_ids), groups_(static_cast<std::size_t>(state.groups.count())) {
  check_info(info, sequences.size());
  require(!sequences.empty(), kOperation, "found no sequence, wanted one at least");
  require(std::set(sequences.begin(), sequences.end()).size() == sequences.size(), kOperation,
          "a sequence stands twice, wanted each once");
  if (s_.config.on_seal)
    fail(ErrorKind::unsupported, kOperation, "found a cache with on_seal, wanted one without: a file has no code");
  token_ids_.resize(sequences.size());
  for (const SequenceId id : sequences) add_sequence(id);
  contents_.config = s_.config;
  contents_.info = info;
  for (const GroupPages& group : groups_) contents_.num_pages.push_back(std::ssize(group.pages));
}

void Saver::add_sequence(SequenceId id) {
  const Sequence& sequence = s_.find(id, kOperation);
  const std::int64_t tokens = sequence.shortest(), longest = sequence.longest();
  require(tokens == longest, kOperation, "layers of a sequence have ", tokens, " to ", longest, " tokens, wanted all the same");
  require(s_.config.recurrent_numbers == 0 || sequence.recurrent_tokens == tokens, kOperation, "a sequence of ", tokens,
          " tokens has a recurrent state after ", sequence.recurrent_tokens, ", wanted one after all");
  const auto ids = std::ssize(token_ids_[sequences_.size()]);
  require(ids == 0 || ids >= tokens, kOperation, "found ", ids, " token ids, wanted none or those of all ", tokens, " tokens");
  std::vector<std::int64_t>& table = tables_.emplace_back();
  for (int g = 0; g < s_.groups.count(); ++g) {
    GroupPages& group = groups_[static_cast<std::size_t>(g)];
    const PageTable& held = sequence.tables[static_cast<std::size_t>(g)];
    for (std::int64_t i = 0; i < tokens / layout::kPageTokens; ++i) {
      const std::int32_t page = held.pages[static_cast<std::size_t>(i)];
      if (page == kNoPage) {
        table.push_back(kForgottenPage);
        continue;
      }
      const auto [at, is_new] = group.place_of.emplace(page, std::ssize(group.pages));
      if (is_new) group.pages.push_back(page);
      table.push_back(at->second);
    }
  }
  sequences_.push_back(&sequence);
  contents_.num_tokens.push_back(tokens);
  contents_.num_token_ids.push_back(ids);
}

void Saver::write(const std::string& path) {
  Safetensors file{words_of(contents_), tensors_of(contents_)};
  const std::string header = place_tensors(file, kStreamAlignment);
  WholeFile out(path);
  out.write(bytes_of(header.data(), std::ssize(header)));
  const auto writer_of = writers();
  for (const StoredTensor& tensor : file.tensors) writer_of.at(tensor.name)(out);
  out.finish();
}

// What writes the bytes of each tensor, by its name.
std::map<std::string, Saver::Writer> Saver::writers() const {
  std::map<std::string, Writer> by_name;
  for (int layer = 0; layer < s_.config.num_layers; ++layer) {
    by_name[pages_name(layer)] = [this, layer](WholeFile& file) { write_bodies(file, layer); };
    by_name[page_heads_name(layer)] = [this, layer](WholeFile& file) { write_heads(file, layer); };
  }
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    by_name[page_table_name(i)] = [this, i](WholeFile& file) { file.write(bytes_of(tables_[i].data(), std::ssize(tables_[i]))); };
    by_name[token_ids_name(i)] = [this, i](WholeFile& file) {
      file.write(bytes_of(token_ids_[i].data(), std::ssize(token_ids_[i])));
    };
    by_name[sinks_name(i)] = [this, i](WholeFile& file) { write_rows(file, i, &Sequence::Layer::sinks, contents_.sink_tokens(i)); };
    by_name[recurrent_name(i)] = [this, i](WholeFile& file) {
      const auto& state = sequences_[i]->recurrent;
      if (!state) return file.zeros(s_.config.recurrent_numbers * static_cast<std::int64_t>(sizeof(float)));
      file.write(bytes_of(state->data(), std::ssize(*state)));
    };
    by_name[tail_name(i)] = [this, i](WholeFile& file) { write_rows(file, i, &Sequence::Layer::tail, contents_.open_tokens(i)); };
  }
  for (const ExactTensor& exact : contents_.info.exact) {
    const std::int64_t bytes = tensor_bytes(file_type(exact.dtype), exact.shape);
    by_name[kExactPrefix + exact.name] = [&exact, bytes](WholeFile& file) {
      file.write(bytes_of(static_cast<const std::byte*>(exact.data), bytes));
    };
  }
  return by_name;
}

void Saver::write_bodies(WholeFile& file, int layer) const {
  const std::vector<std::int32_t>& pages = pages_of(layer);
  const std::int64_t bytes = s_.pool.body_bytes(layer), stream = bytes * std::ssize(pages);
  for (int head = 0; head < s_.config.num_kv_heads; ++head) {
    for (const std::int32_t page : pages) file.write(bytes_of(s_.pool.body(layer, head, page), bytes));
    file.zeros(layout::round_up(stream, kStreamAlignment) - stream);
  }
}

void Saver::write_heads(WholeFile& file, int layer) const {
  for (int head = 0; head < s_.config.num_kv_heads; ++head) {
    for (const std::int32_t page : pages_of(layer)) file.write(bytes_of(s_.pool.head(layer, head, page), 1));
  }
}

void Saver::write_rows(WholeFile& file, std::size_t sequence, std::shared_ptr<RowBlock> Sequence::Layer::* rows,
                       std::int64_t count) const {
  const std::int64_t numbers = count * s_.config.head_dim;
  if (numbers == 0) return;
  for (const Sequence::Layer& layer : sequences_[sequence]->layers) {
    const RowBlock& block = *(layer.*rows);
    for (int head = 0; head < s_.config.num_kv_heads; ++head) file.write(bytes_of(block.keys(head, 0), numbers));
    for (int head = 0; head < s_.config.num_kv_heads; ++head) file.write(bytes_of(block.values(head, 0), numbers));
  }
}

// From a GPU by way of the host.
void save_from_device(const std::string& path, const KvCache& cache, std::span<const SequenceId> sequences,
                      const CacheFileInfo& info, Queue queue) {
  CacheConfig config = cache.config();
  config.max_pages = 1;
  for (const SequenceId id : sequences) config.max_pages += cache.state().find(id, kOperation).longest() / layout::kPageTokens;
  KvCache here(config);
  std::vector<SequenceId> copies;
  for (const SequenceId id : sequences) copies.push_back(copy_sequence(cache, id, here, queue));
  Saver(here.state(), copies, info).write(path);
}

}  // namespace

void save_cache(const std::string& path, const KvCache& cache, std::span<const SequenceId> sequences, const CacheFileInfo& info,
                Queue queue) {
  if (cache.device() != Device::cpu()) return save_from_device(path, cache, sequences, info, queue);
  threads_of(queue, kOperation);  // a stream is an error
  Saver(cache.state(), sequences, info).write(path);
}

void sweep_cache_parts(const std::string& folder) { sweep_folder(folder, ".qjlkv.safetensors"); }

}  // namespace qjl
