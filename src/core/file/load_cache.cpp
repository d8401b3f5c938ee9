// CacheFile: a saved cache checked, then made. Its bodies are mapped over the first pages of the new pool, stream by stream; heads,
// sinks, tails and tables are read, since they are small and everything in them is looked at.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cache_state.hpp"
#include "cache_tensors.hpp"
#include "fail.hpp"
#include "header_text.hpp"
#include "page_fault.hpp"
#include "qjl/cache_file.hpp"
#include "qjl/moves.hpp"
#include "queue.hpp"
#include "rows.hpp"
#include "whole_file.hpp"

namespace qjl {
namespace {

constexpr const char* kOperation = "load_cache";

// A rounding of frequencies to fp32, and of what they were computed from, is no other model.
constexpr double kSameFrequency = 1e-5;

std::vector<std::int64_t> numbers_of(std::span<const std::byte> bytes) {
  std::vector<std::int64_t> numbers(bytes.size() / sizeof(std::int64_t));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

// The forgotten ones of a page table stand first.
std::int64_t num_forgotten(std::span<const std::int64_t> places) {
  return std::ranges::find_if(places, [](std::int64_t page) { return page != kForgottenPage; }) - places.begin();
}

DType number_type(FileType type, const std::string& name) {
  switch (type) {
    case FileType::f32: return DType::f32;
    case FileType::f16: return DType::f16;
    case FileType::bf16: return DType::bf16;
    case FileType::u8:
    case FileType::i64: break;
  }
  refuse_file("the exact tensor ", quoted(name), " is of type ", file_type_name(type), ", wanted F32, F16 or BF16");
}

std::string shape_text(const StoredTensor& tensor) {
  std::string text(file_type_name(tensor.type));
  for (const std::int64_t extent : tensor.shape) text += " " + std::to_string(extent);
  return text;
}

bool is_same_rope(const KeyRope& a, const KeyRope& b) {
  const auto is_same = [](double x, double y) { return std::abs(x - y) <= kSameFrequency * std::max(x, y); };
  return std::ranges::equal(a.frequency, b.frequency, is_same);
}

// The text without "[operation] " in front of it, with the file's name there.
[[noreturn]] void refuse_named(const std::string& path, const Error& error) {
  const std::string text = error.what(), mark = std::string("[") + kOperation + "] ";
  fail(error.kind(), kOperation, path, ": ", text.starts_with(mark) ? text.substr(mark.size()) : text);
}

}  // namespace

struct CacheFile::State {
  explicit State(const std::string& path);

  std::span<const std::byte> bytes(const std::string& name) const {
    const StoredTensor& tensor = *std::ranges::lower_bound(tensors, name, {}, &StoredTensor::name);  // it is there: checked
    return file.bytes().subspan(static_cast<std::size_t>(tensor.begin), static_cast<std::size_t>(tensor.bytes()));
  }
  void check_tensors();
  void read_tables();
  void read_table(std::size_t sequence, int group, std::vector<bool>& is_used) const;

  // Of one sequence, in the pages of the file.
  std::span<const std::int64_t> table(std::size_t sequence, int group) const {
    const auto places = static_cast<std::size_t>(contents.sealed_pages(sequence));
    return std::span(tables[sequence]).subspan(static_cast<std::size_t>(group) * places, places);
  }

  bool put_pages(KvCache::State& target) const;
  void read_heads(KvCache::State& target, int layer) const;
  void check_pages(const KvCache::State& target, int layer) const;
  Sequence sequence(KvCache::State& target, std::size_t i) const;
  std::shared_ptr<RowBlock> rows(std::span<const std::byte> all, int layer, std::int64_t capacity, std::int64_t count) const;
  LoadedCache load(std::int64_t max_pages) const;

  std::string path;
  OpenFile file;
  Safetensors header;
  CacheContents contents;
  LayerGroups groups;
  std::vector<StoredTensor> tensors;              // by name
  std::vector<std::vector<std::int64_t>> tables;  // of each sequence, [groups, sealed pages]
};

CacheFile::State::State(const std::string& name)
    : path(name),
      file(name),
      header(read_safetensors(file.bytes())),
      contents(contents_of(header.words)),
      groups(contents.config),
      tensors(std::move(header.tensors)) {
  check_tensors();
  read_tables();
}

// Every tensor that the words promise, of the type and shape that they promise; then exact ones and no other.
void CacheFile::State::check_tensors() {
  const std::size_t of_sequence = contents.config.recurrent_numbers > 0 ? 5 : 4;
  const std::size_t least = 2 * static_cast<std::size_t>(contents.config.num_layers) + of_sequence * contents.num_tokens.size();
  if (tensors.size() < least) refuse_file("found ", tensors.size(), " tensors, wanted ", least, " by the metadata");
  std::ranges::sort(tensors, {}, &StoredTensor::name);
  for (const StoredTensor& wanted : tensors_of(contents)) {
    const auto found = std::ranges::lower_bound(tensors, wanted.name, {}, &StoredTensor::name);
    if (found == tensors.end() || found->name != wanted.name) {
      refuse_file("found no tensor ", wanted.name, ", wanted ", shape_text(wanted), " by the metadata");
    }
    if (found->type != wanted.type || found->shape != wanted.shape) {
      refuse_file("tensor ", wanted.name, " is ", shape_text(*found), ", wanted ", shape_text(wanted), " by the metadata");
    }
  }
  std::size_t exact = 0;
  for (const StoredTensor& tensor : tensors) {
    if (!tensor.name.starts_with(kExactPrefix)) continue;
    const std::string name = tensor.name.substr(std::string_view(kExactPrefix).size());
    if (name.empty()) refuse_file("found an exact tensor without a name, wanted ", kExactPrefix, "NAME");
    contents.info.exact.push_back({name, number_type(tensor.type, name), tensor.shape, file.bytes().data() + tensor.begin});
    ++exact;
  }
  if (tensors.size() != least + exact) {
    refuse_file("found ", tensors.size() - least - exact, " tensors of other names, wanted those of docs/cache_file.md");
  }
}

void CacheFile::State::read_tables() {
  std::vector<std::vector<bool>> is_used;
  for (const std::int64_t pages : contents.num_pages) {
    is_used.emplace_back(static_cast<std::size_t>(std::min<std::int64_t>(pages, std::ssize(file.bytes()))));
  }
  for (std::size_t i = 0; i < contents.num_tokens.size(); ++i) {
    tables.push_back(numbers_of(bytes(page_table_name(i))));
    for (int group = 0; group < groups.count(); ++group) read_table(i, group, is_used[static_cast<std::size_t>(group)]);
    contents.info.token_ids.push_back(numbers_of(bytes(token_ids_name(i))));
  }
  for (const std::vector<bool>& used : is_used) {
    const auto unused = std::ranges::find(used, false);
    if (unused != used.end()) refuse_file("page ", unused - used.begin(), " is of no sequence, wanted one that has it");
  }
}

// Of one group: first what is forgotten, and no more of it than layers of that length do; then pages.
void CacheFile::State::read_table(std::size_t sequence, int group, std::vector<bool>& is_used) const {
  const std::span<const std::int64_t> places = table(sequence, group);
  const std::int64_t pages = contents.num_pages[static_cast<std::size_t>(group)], forgotten = num_forgotten(places);
  const std::int64_t most = groups.all[static_cast<std::size_t>(group)].first_page(contents.num_tokens[sequence]);
  if (forgotten > most) {
    refuse_file(page_table_name(sequence), " has forgotten ", forgotten, " pages, wanted at most ", most);
  }
  for (const std::int64_t page : places.subspan(static_cast<std::size_t>(forgotten))) {
    if (page < 0 || page >= pages) {
      refuse_file(page_table_name(sequence), " has page ", page, ", wanted 0 to ", pages - 1);
    }
    is_used[static_cast<std::size_t>(page)] = true;
  }
}

// Returns whether all of it is mapped.
bool CacheFile::State::put_pages(KvCache::State& target) const {
  bool is_mapped = true;
  for (int layer = 0; layer < contents.config.num_layers; ++layer) {
    const std::span<const std::byte> all = bytes(pages_name(layer));
    const std::size_t stream = all.size() / static_cast<std::size_t>(contents.config.num_kv_heads);
    const std::int64_t pages = contents.num_pages[static_cast<std::size_t>(groups.index_of(layer))];
    const auto used = static_cast<std::size_t>(pages * target.pool.body_bytes(layer));
    for (int head = 0; head < contents.config.num_kv_heads; ++head) {
      const std::span<const std::byte> part = all.subspan(static_cast<std::size_t>(head) * stream, used);
      is_mapped &= target.pool.put(layer, head, file.descriptor(), part.data() - file.bytes().data(), part);
    }
    read_heads(target, layer);
  }
  return is_mapped;
}

void CacheFile::State::read_heads(KvCache::State& target, int layer) const {
  const std::span<const std::byte> heads = bytes(page_heads_name(layer));
  const std::size_t each = heads.size() / static_cast<std::size_t>(contents.config.num_kv_heads);
  for (int head = 0; each > 0 && head < contents.config.num_kv_heads; ++head) {
    std::memcpy(target.pool.head(layer, head, 0), heads.data() + static_cast<std::size_t>(head) * each, each);
  }
}

// What kernels would believe: heads, and the sinks of first pages.
void CacheFile::State::check_pages(const KvCache::State& target, int layer) const {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const std::span<const std::int64_t> places = table(i, groups.index_of(layer));
    for (auto place = static_cast<std::size_t>(num_forgotten(places)); place < places.size(); ++place) {
      const auto page = static_cast<std::int32_t>(places[place]);
      for (int kv_head = 0; kv_head < contents.config.num_kv_heads; ++kv_head) {
        const layout::PageHead& head = *target.pool.head(layer, kv_head, page);
        const std::string fault = page_fault(head, target.pool.body(layer, kv_head, page), target.tables(layer).shape);
        if (!fault.empty()) refuse_file("page ", page, " of layer ", layer, ", kv head ", kv_head, ": ", fault);
        const int sinks = place == 0 ? contents.config.codec.sink_tokens : 0;
        if (head.num_sinks != sinks) {
          refuse_file("page ", page, " of layer ", layer, ", kv head ", kv_head, " has ", int{head.num_sinks}, " sinks, wanted ",
                      sinks);
        }
      }
    }
  }
}

// Rows of one layer, checked.
std::shared_ptr<RowBlock> CacheFile::State::rows(std::span<const std::byte> all, int layer, std::int64_t capacity,
                                                 std::int64_t count) const {
  const CacheConfig& c = contents.config;
  auto block = std::make_shared<RowBlock>(c.num_kv_heads, capacity, c.head_dim);
  const auto each = static_cast<std::size_t>(count * c.head_dim) * sizeof(std::uint16_t);
  const std::byte* from = all.data() + static_cast<std::size_t>(layer) * 2 * static_cast<std::size_t>(c.num_kv_heads) * each;
  for (int side = 0; side < 2; ++side) {
    for (int head = 0; head < c.num_kv_heads; ++head, from += each) {
      std::uint16_t* to = side == 0 ? block->keys(head, 0) : block->values(head, 0);
      std::memcpy(to, from, each);
      if (!rows_fit(TensorView::contiguous(to, c.tail_dtype, 1, count, c.head_dim), 0, 0, count, c.tail_dtype)) {
        refuse_file("an exact row of layer ", layer, ", kv head ", head, " has NaN or infinity, wanted finite numbers");
      }
    }
  }
  return block;
}

Sequence CacheFile::State::sequence(KvCache::State& target, std::size_t i) const {
  Sequence sequence = target.new_sequence();
  for (int l = 0; l < contents.config.num_layers; ++l) {
    Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(l)];
    layer.set_length(contents.num_tokens[i]);
    const std::int64_t sinks = contents.sink_tokens(i), open = contents.open_tokens(i);
    if (sinks > 0) layer.sinks = rows(bytes(sinks_name(i)), l, sinks, sinks);
    if (open > 0) layer.tail = rows(bytes(tail_name(i)), l, layout::kPageTokens, open);
  }
  if (contents.config.recurrent_numbers > 0) {
    const std::span<const std::byte> state = bytes(recurrent_name(i));
    target.own_recurrent_state(sequence);
    std::memcpy(sequence.recurrent->data(), state.data(), state.size());
    if (!std::ranges::all_of(*sequence.recurrent, [](float number) { return std::isfinite(number); }))
      refuse_file("a recurrent state has NaN or infinity, wanted finite numbers");
    sequence.recurrent_tokens = contents.num_tokens[i];
  }
  for (int group = 0; group < groups.count(); ++group) {
    const std::span<const std::int64_t> places = table(i, group);
    PageTable& own = sequence.tables[static_cast<std::size_t>(group)];
    own.pages.assign(places.begin(), places.end());
    own.first = num_forgotten(places);
  }
  return sequence;
}

LoadedCache CacheFile::State::load(std::int64_t max_pages) const {
  CacheConfig config = contents.config;
  if (max_pages != 0) {
    require(max_pages >= config.max_pages, kOperation, "max_pages is ", max_pages, ", wanted ", config.max_pages, " or more");
    config.max_pages = max_pages;
  }
  LoadedCache loaded;
  loaded.cache = std::make_unique<KvCache>(std::move(config));
  KvCache::State& target = loaded.cache->state();
  loaded.is_mapped = put_pages(target);
  for (int layer = 0; layer < contents.config.num_layers; ++layer) check_pages(target, layer);
  std::vector<std::vector<std::int32_t>> taken;
  for (int group = 0; group < groups.count(); ++group) {
    taken.push_back(target.pool.adopt(group, contents.num_pages[static_cast<std::size_t>(group)]));
  }
  for (std::size_t i = 0; i < tables.size(); ++i) {
    loaded.sequences.push_back(target.add(sequence(target, i)));
    for (int group = 0; group < groups.count(); ++group) {
      const std::span<const std::int64_t> places = table(i, group);
      for (const std::int64_t page : places.subspan(static_cast<std::size_t>(num_forgotten(places)))) {
        target.pool.share(group, static_cast<std::int32_t>(page));
      }
    }
  }
  for (int group = 0; group < groups.count(); ++group) {
    for (const std::int32_t page : taken[static_cast<std::size_t>(group)])
      target.pool.release(group, page);  // their sequences' now
  }
  return loaded;
}

CacheFile::CacheFile(const std::string& path) try : state_(std::make_unique<State>(path)) {
} catch (const Error& error) {
  if (error.kind() != ErrorKind::bad_file) throw;
  refuse_named(path, error);
}
CacheFile::~CacheFile() = default;
CacheFile::CacheFile(CacheFile&&) noexcept = default;
CacheFile& CacheFile::operator=(CacheFile&&) noexcept = default;

const CacheConfig& CacheFile::config() const { return state_->contents.config; }
const CacheFileInfo& CacheFile::info() const { return state_->contents.info; }
const std::vector<std::int64_t>& CacheFile::num_tokens() const { return state_->contents.num_tokens; }

void CacheFile::check_model(const CacheConfig& model) const {
  const CacheConfig& found = config();
  const auto same = [this](const char* what, std::int64_t is, std::int64_t wanted) {
    require(is == wanted, kOperation, state_->path, ": ", what, " is ", is, ", wanted ", wanted, " as the model has");
  };
  same("num_layers", found.num_layers, model.num_layers);
  same("num_kv_heads", found.num_kv_heads, model.num_kv_heads);
  same("head_dim", found.head_dim, model.head_dim);
  same("recurrent_numbers", found.recurrent_numbers, model.recurrent_numbers);
  for (int layer = 0; layer < model.num_layers; ++layer) {
    const auto window = [layer](const CacheConfig& c) {
      return c.layer_windows.empty() ? std::int64_t{0} : c.layer_windows[static_cast<std::size_t>(layer)];
    };
    same("a layer's window", window(found), window(model));
    const KeyRope has = layer_codec(found, layer).rope, wanted = layer_codec(model, layer).rope;
    const auto first = [](const KeyRope& rope) { return rope.frequency.size() < 2 ? 0.0 : rope.frequency[1]; };
    require(is_same_rope(has, wanted), kOperation, state_->path, ": layer ", layer, " turns ", has.frequency.size(),
            " pairs of channels, the second by ", first(has), " a token, wanted ", wanted.frequency.size(), " and ", first(wanted),
            " as the model does");
  }
}

LoadedCache CacheFile::load(std::int64_t max_pages, Device device, Queue queue) const {
  try {
    if (device == Device::cpu()) {
      threads_of(queue, kOperation);  // a stream is an error
      return state_->load(max_pages);
    }
    if (state_->groups.count() > 1 || state_->groups.all[0].forgets()) {
      fail(ErrorKind::unsupported, kOperation, state_->path, ": found layer_retention, wanted none on ", device_name(device),
           ", where all tokens are kept: load it on the host");
    }
    const LoadedCache here = state_->load(0);
    LoadedCache there;
    CacheConfig room = config();
    for (const auto& table : state_->tables) room.max_pages += std::ssize(table);  // copies share no pages
    room.max_pages = std::max(room.max_pages, max_pages);
    there.cache = std::make_unique<KvCache>(std::move(room), device);
    for (const SequenceId id : here.sequences) there.sequences.push_back(copy_sequence(*here.cache, id, *there.cache, queue));
    return there;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::bad_file) throw;
    refuse_named(state_->path, error);
  }
}

}  // namespace qjl
