// The class KvCache of Python: everything but attends (attention.cpp).
#include "cache.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <optional>
#include <string>

#include "config.hpp"
#include "errors.hpp"
#include "qjl/codec.hpp"
#include "tensors.hpp"

namespace qjl::python {
namespace {

// The next step works in what a step has left; the memory of a prompt, several times what its pages take, goes with it.
constexpr std::int64_t kKeptScratchBytes = std::int64_t{1} << 20;

}  // namespace

Cache::Cache(CacheConfig config, int num_threads)
    : cache_(std::make_unique<KvCache>(std::move(config))), pool_(pool_of(num_threads)) {}

Cache::Cache(LoadedCache loaded, int num_threads) : cache_(std::move(loaded.cache)), pool_(pool_of(num_threads)) {
  for (const SequenceId sequence : loaded.sequences) live_.push_back(static_cast<std::int64_t>(sequence));
}

std::int64_t Cache::create() {
  return change([&](KvCache& cache) { return live_.emplace_back(static_cast<std::int64_t>(cache.create())); });
}

std::int64_t Cache::fork(std::int64_t sequence) {
  return change([&](KvCache& cache) { return live_.emplace_back(static_cast<std::int64_t>(cache.fork(id(sequence), queue()))); });
}

void Cache::drop(std::int64_t sequence) {
  change([&](KvCache& cache) {
    cache.drop(id(sequence));
    std::erase(live_, sequence);
  });
}

std::vector<std::int64_t> Cache::sequences() const {
  return look([&](const KvCache&) { return live_; });
}

std::unique_ptr<AttendScratch> Cache::borrow() const {
  const std::scoped_lock alone(scratch_door_);
  if (scratch_.empty()) return std::make_unique<AttendScratch>();
  std::unique_ptr<AttendScratch> last = std::move(scratch_.back());
  scratch_.pop_back();
  return last;
}

void Cache::give_back(std::unique_ptr<AttendScratch> scratch) const {
  if (scratch->bytes() > kKeptScratchBytes) return;
  const std::scoped_lock alone(scratch_door_);
  scratch_.push_back(std::move(scratch));
}

MemoryReport Cache::memory_report() const {
  MemoryReport report = look([](const KvCache& cache) { return cache.memory_report(); });
  const std::scoped_lock alone(scratch_door_);
  for (const std::unique_ptr<AttendScratch>& scratch : scratch_) report.scratch += scratch->bytes();
  return report;
}

void Cache::append(const std::vector<std::int64_t>& sequences, int layer, const Tensor& keys, const Tensor& values) {
  const std::int64_t batch = std::ssize(sequences);
  for (const auto& [tensor, name] : {std::pair{&keys, "keys"}, {&values, "values"}}) {
    require(tensor->batch == batch, "append", name, " have a batch of ", tensor->batch, ", wanted ", batch, " as the sequences");
  }
  std::vector<AppendRequest> requests;
  for (std::int64_t i = 0; i < batch; ++i) {
    requests.push_back({id(sequences[static_cast<std::size_t>(i)]), keys.row(i), values.row(i)});
  }
  change([&](KvCache& cache) { cache.append(requests, layer, queue()); });
}

namespace {

nb::tuple page(const Cache& self, std::int64_t sequence, int layer, int kv_head, std::int64_t page) {
  std::string head, body;
  self.look([&](const KvCache& cache) {
    const KvCache::PageBytes bytes = cache.page(id(sequence), layer, kv_head, page);
    head.assign(reinterpret_cast<const char*>(bytes.head.data()), bytes.head.size());
    body.assign(reinterpret_cast<const char*>(bytes.body.data()), bytes.body.size());
  });
  return nb::make_tuple(nb::bytes(head.data(), head.size()), nb::bytes(body.data(), body.size()));
}

nb::tuple read(const Cache& self, std::int64_t sequence, int layer, std::int64_t begin, std::int64_t end) {
  const std::int64_t length = self.look([&](const KvCache& cache) { return cache.num_tokens(id(sequence), layer); });
  require(begin >= 0 && begin <= end && end <= length, "read", "the tokens are ", begin, " to ", end, ", wanted a stretch of the ",
          length, " in layer ", layer);
  const CacheConfig& c = self.config();
  const std::int64_t shape[] = {c.num_kv_heads, end - begin, c.head_dim};
  const NewArray keys = new_array(shape, false), values = new_array(shape, false);
  const auto view = [&](const NewArray& array) { return OutputView::contiguous(array.data, shape[0], shape[1], shape[2]); };
  self.look_with_threads(
      [&](const KvCache& cache) { cache.read(id(sequence), layer, begin, view(keys), view(values), self.queue()); });
  return nb::make_tuple(keys.object, values.object);
}

// One sequence and [heads, tokens, channels], or several and [batch, heads, tokens, channels].
void append(Cache& self, nb::handle sequence, int layer, nb::handle keys, nb::handle values) {
  const bool alone = PyIndex_Check(sequence.ptr()) && !PySequence_Check(sequence.ptr());
  const nb::object list = alone ? nb::object(nb::make_tuple(nb::borrow(sequence))) : nb::borrow(sequence);
  const std::vector<std::int64_t> ids = whole_numbers(list, {"append", "sequences"});
  const Tensor k = take(keys, alone ? 3 : 4, {"append", "keys"}), v = take(values, alone ? 3 : 4, {"append", "values"});
  self.append(ids, layer, k, v);
}

nb::dict memory_report(const Cache& self) {
  const MemoryReport r = self.memory_report();
  nb::dict report;
  report["sealed_pages"] = r.sealed_pages;
  report["free_pages"] = r.free_pages;
  report["sinks"] = r.sinks;
  report["tails"] = r.tails;
  report["page_tables"] = r.page_tables;
  report["codec_tables"] = r.codec_tables;
  report["scratch"] = r.scratch;
  report["recurrent"] = r.recurrent;
  report["total"] = r.total();
  report["num_tokens"] = r.num_tokens;
  report["full_layers"] = r.full.total();
  report["windowed_layers"] = r.windowed.total();
  return report;
}

std::int64_t num_tokens(const Cache& self, std::int64_t sequence, std::optional<int> layer) {
  return self.look(
      [&](const KvCache& cache) { return layer ? cache.num_tokens(id(sequence), *layer) : cache.num_tokens(id(sequence)); });
}

void bind_sequences(nb::class_<Cache>& c) {
  c.def("create", &Cache::create, "create() -> int\n\nA new empty sequence; returns its number, which is never used again.")
      .def("fork", &Cache::fork, nb::arg("sequence"),
           "fork(sequence) -> int\n\nA new sequence with the same tokens. Sealed pages are shared, so it takes none.\n\n"
           "Errors: InvalidArgument; OutOfPages while layers differ in length.")
      .def("drop", &Cache::drop, nb::arg("sequence"),
           "drop(sequence)\n\nForgets a sequence; pages that no fork uses are free again.")
      .def("sequences", &Cache::sequences,
           "sequences() -> list[int]\n\nThe sequences that live, in the order in which they came; of a loaded cache, in that of "
           "the file.")
      .def(
          "truncate",
          [](Cache& self, std::int64_t sequence, std::int64_t n) {
            self.change([&](KvCache& cache) { cache.truncate(id(sequence), n, self.queue()); });
          },
          nb::arg("sequence"), nb::arg("num_tokens"),
          "truncate(sequence, num_tokens)\n\nKeeps the first num_tokens tokens of every layer. A cut inside a sealed page keeps "
          "the numbers that its codes stand for.\n\nErrors: InvalidArgument above the length of the shortest layer, and where a "
          "layer "
          "has forgotten tokens that\nit would keep then; can_truncate tells.")
      .def(
          "can_truncate",
          [](const Cache& self, std::int64_t sequence, std::int64_t n) {
            return self.look([&](const KvCache& cache) { return cache.can_truncate(id(sequence), n); });
          },
          nb::arg("sequence"), nb::arg("num_tokens"),
          "can_truncate(sequence, num_tokens) -> bool\n\nWhether truncate can cut there.")
      .def(
          "first_kept",
          [](const Cache& self, std::int64_t sequence, int layer) {
            return self.look([&](const KvCache& cache) { return cache.first_kept(id(sequence), layer); });
          },
          nb::arg("sequence"), nb::arg("layer"),
          "first_kept(sequence, layer) -> int\n\nThe first token from which on a layer has all; 0 unless it forgets.")
      .def(
          "reserve",
          [](Cache& self, std::int64_t sequence, std::int64_t n) {
            self.change([&](KvCache& cache) { cache.reserve(id(sequence), n); });
          },
          nb::arg("sequence"), nb::arg("num_tokens"),
          "reserve(sequence, num_tokens)\n\nTakes pages for num_tokens tokens in all, so that appends up to there cannot run "
          "out.\n\n"
          "Errors: OutOfPages; nothing has changed then.")
      .def("num_tokens", num_tokens, nb::arg("sequence"), nb::arg("layer") = nb::none(),
           "num_tokens(sequence, layer=None) -> int\n\nTokens of a sequence in one layer, or the least over all layers.");
}

void bind_contents(nb::class_<Cache>& c) {
  c.def("append", append, nb::arg("sequence").none(), nb::arg("layer"), nb::arg("keys").none(), nb::arg("values").none(),
        "append(sequence, layer, keys, values)\n\nAdds tokens to one layer. keys, values [num_kv_heads, tokens, head_dim]; or a "
        "list "
        "of sequences\nand [batch, num_kv_heads, tokens, head_dim]. float32, float16 or bfloat16, rounded once to tail_dtype; "
        "channels\ncontiguous, other strides free, nothing is copied.\n\nErrors: InvalidArgument on shape, type, stride, NaN, "
        "infinity "
        "or a number that tail_dtype cannot hold; OutOfPages.\nNothing has changed then.")
      .def("read", read, nb::arg("sequence"), nb::arg("layer"), nb::arg("begin"), nb::arg("end"),
           "read(sequence, layer, begin, end) -> (keys, values)\n\nTokens [begin, end) as attend sees them: two float32 NumPy "
           "arrays "
           "[num_kv_heads, end - begin, head_dim]. Sinks\nand the open page are exact, other tokens are the numbers that their "
           "codes "
           "stand for.\n\nErrors: InvalidArgument beyond the layer's length.")
      .def("page", page, nb::arg("sequence"), nb::arg("layer"), nb::arg("kv_head"), nb::arg("page"),
           "page(sequence, layer, kv_head, page) -> (head, body)\n\nThe bytes of a sealed page as docs/format.md lists them, as "
           "PageCodec "
           "reads them and as the C++ library\nwrites them.\n\nErrors: InvalidArgument unless the page is sealed.");
}

void bind_accounts(nb::class_<Cache>& c) {
  c.def("memory_report", memory_report,
        "memory_report() -> dict[str, int]\n\nBytes by kind (sealed_pages, free_pages, sinks, tails, page_tables, codec_tables, "
        "scratch, and\nrecurrent: states of layers without keys, from a file of the program), their total, and num_tokens: tokens "
        "held,\nsummed over sequences. full_layers and windowed_layers: of pages, sinks and tails, what layers that keep all "
        "tokens\nhave, and those with a retention.")
      .def(
          "bits", [](const Cache& self) { return self.memory_report().bits(self.config()); },
          "bits() -> float\n\nBits for each number held, every byte of the cache counted; 0 when empty.")
      .def(
          "bits_sealed", [](const Cache& self) { return self.look([](const KvCache& cache) { return cache.bits_sealed(); }); },
          "bits_sealed() -> float\n\nBits for each number of a sealed page, the mean over layers.")
      .def(
          "page_bytes",
          [](const Cache& self, int layer) { return self.look([&](const KvCache& cache) { return cache.page_bytes(layer); }); },
          nb::arg("layer"), "page_bytes(layer) -> int\n\nBytes of a sealed page of one kv head, head and body.")
      .def(
          "free_pages", [](const Cache& self) { return self.look([](const KvCache& cache) { return cache.free_pages(); }); },
          "free_pages() -> int\n\nPages that are free; a page is 128 tokens of one sequence in all layers and kv heads.");
}

}  // namespace

void bind_cache(nb::module_& module) {
  nb::class_<Cache> c(module, "KvCache", "See qjl.KvCache, which reads the arguments.");
  c.def(
      "__init__",
      [](Cache* self, int num_layers, int num_kv_heads, int head_dim, std::string cache_type,
         std::vector<std::pair<std::string, std::string>> layer_codes, std::int64_t max_tokens, nb::handle tail_dtype,
         std::vector<std::vector<double>> ropes, std::string rope_pairs, std::vector<std::int64_t> windows,
         std::vector<std::int64_t> retention, int threads) {
        CacheConfig config = cache_config({num_layers, num_kv_heads, head_dim, std::move(cache_type), std::move(layer_codes),
                                           tail_dtype_of(tail_dtype), std::move(ropes), std::move(rope_pairs), std::move(windows),
                                           std::move(retention)});
        require(max_tokens > 0, "cache", "max_tokens is ", max_tokens, ", wanted 1 or more");
        config.max_pages = (max_tokens - 1) / kTokensPerPage + 1;
        new (self) Cache(std::move(config), threads);
      },
      nb::kw_only(), nb::arg("num_layers"), nb::arg("num_kv_heads"), nb::arg("head_dim"), nb::arg("cache_type"),
      nb::arg("layer_codes"), nb::arg("max_tokens"), nb::arg("tail_dtype"), nb::arg("ropes"), nb::arg("rope_pairs"),
      nb::arg("windows"), nb::arg("retention"), nb::arg("threads"));
  bind_sequences(c);
  bind_contents(c);
  bind_accounts(c);
  bind_config(c);
  c.def_prop_ro("max_tokens", [](const Cache& self) { return self.config().max_pages * kTokensPerPage; });
  bind_attention(c, module);
  bind_cache_file(c, module);
}

}  // namespace qjl::python
