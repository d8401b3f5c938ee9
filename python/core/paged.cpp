// The class PagedCache of Python: the door of paged.hpp over arrays of NumPy and torch.
//
// Every call gives up the interpreter's lock and takes the cache's own: it has one pool of threads and one plan.
#include "qjl/paged.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <mutex>
#include <optional>

#include "cache.hpp"
#include "config.hpp"
#include "paged_call.hpp"
#include "qjl/codec.hpp"

namespace qjl::python {
namespace {

class Paged {
 public:
  Paged(CacheConfig config, int num_threads) : cache_(std::move(config)), pool_(pool_of(num_threads)) {}

  const CacheConfig& config() const { return cache_.config(); }
  int num_threads() const { return pool_ ? pool_->num_threads() : 1; }

  template <typename Work>
  void run(const Work& work) {
    const nb::gil_scoped_release without_interpreter;
    const std::scoped_lock alone(door_);
    work(cache_, plan_, pool_ ? Queue(*pool_) : Queue());
  }
  const PagedCache& cache() const { return cache_; }

 private:
  PagedCache cache_;
  std::unique_ptr<ThreadPool> pool_;
  AttendPlan plan_;
  std::mutex door_;
};

// Requests of a batch with the tokens that they have before the step, or after it.
enum class Tokens { before, after };
std::vector<PagedRequest> requests_of(const Batch& batch, Tokens tokens) {
  std::vector<PagedRequest> requests(batch.size());
  for (std::size_t r = 0; r < batch.size(); ++r) {
    requests[r].block_ids = batch.block_ids(r);
    requests[r].num_tokens = batch.num_tokens[r] + (tokens == Tokens::after ? batch.tokens(r) : 0);
    requests[r].tail_id = batch.tail_ids[r];
  }
  return requests;
}

// New keys and values of a call.
struct NewRows {
  BatchRows keys, values;
  NewRows(nb::handle key_array, nb::handle value_array, const Batch& batch, std::string_view operation)
      : keys(key_array, batch, {operation, "keys"}), values(value_array, batch, {operation, "values"}) {}
  void fill(const Batch& batch, std::vector<PagedRequest>& requests) const {
    for (std::size_t r = 0; r < requests.size(); ++r) {
      requests[r].keys = keys.of(batch, r);
      requests[r].values = values.of(batch, r);
    }
  }
  bool are_bf16() const { return keys.array.first.dtype == DType::bf16 && values.array.first.dtype == DType::bf16; }
};

// What every call has, and what attends have beside.
struct Where {
  int layer;
  nb::handle pages, tails;
  const Batch& batch;
  PagedArrays arrays(const Paged& self, std::string_view operation) const {
    return {layer, pages, tails, self.config(), operation};
  }
};
struct How {
  nb::handle out;
  AttendChoices choices;
  bool lse;
};

void append(Paged& self, const Where& where, nb::handle keys, nb::handle values) {
  const PagedArrays arrays = where.arrays(self, "append");
  const NewRows rows(keys, values, where.batch, "append");
  std::vector<PagedRequest> requests = requests_of(where.batch, Tokens::before);
  rows.fill(where.batch, requests);
  self.run([&](PagedCache& cache, AttendPlan&, const Queue& queue) { cache.append(arrays.memory, requests, queue); });
}

// attend, or step, as `verb` calls it; without rows the queries are those of tokens that are stored.
template <typename Verb>
nb::object attend_with(Paged& self, const Where& where, nb::handle query_array, const NewRows* rows, const How& how,
                       const Verb& verb) {
  const Batch& batch = where.batch;
  const BatchRows queries(query_array, batch, {"attend", "queries"});
  BatchResults results(how.out, how.lse, queries.array.first, batch.tokens(), is_torch(query_array));
  std::vector<PagedRequest> requests = requests_of(batch, rows == nullptr ? Tokens::after : Tokens::before);
  for (std::size_t r = 0; r < requests.size(); ++r) requests[r].queries = queries.of(batch, r);
  if (rows != nullptr) rows->fill(batch, requests);
  results.fill(batch, requests);
  AttendOptions options = attend_options(how.choices);
  const bool packs =
      rows != nullptr && rows->are_bf16() && self.config().tail_dtype == DType::bf16 && queries.array.first.dtype == DType::bf16;
  if (packs) options.chunk_products = ChunkProducts::bf16;
  self.run([&](PagedCache& cache, AttendPlan& plan, const Queue& queue) {
    verb(cache, requests, options, plan, queue);
    results.finish(batch);
  });
  return how.lse ? nb::make_tuple(results.out.object, results.lse.object) : results.out.object;
}

nb::object attend(Paged& self, const Where& where, nb::handle queries, nb::handle keys, nb::handle values, const How& how) {
  require(keys.is_none() == values.is_none(), "attend", "found ", keys.is_none() ? "values" : "keys",
          " alone, wanted keys and values, or neither");
  const PagedArrays arrays = where.arrays(self, "attend");
  std::optional<NewRows> rows;
  if (!keys.is_none()) rows.emplace(keys, values, where.batch, "attend");
  return attend_with(self, where, queries, rows ? &*rows : nullptr, how,
                     [&](PagedCache& cache, const auto& requests, const AttendOptions& options, AttendPlan& plan,
                         const Queue& queue) { cache.attend(arrays.memory, requests, options, plan, queue); });
}

nb::object step(Paged& self, const Where& where, nb::handle queries, nb::handle keys, nb::handle values, const How& how) {
  const PagedArrays arrays = where.arrays(self, "step");
  const NewRows rows(keys, values, where.batch, "step");
  return attend_with(self, where, queries, &rows, how,
                     [&](PagedCache& cache, const auto& requests, const AttendOptions& options, AttendPlan& plan,
                         const Queue& queue) { cache.step(arrays.memory, requests, options, plan, queue); });
}

constexpr const char* kAppendText =
    "append(layer, pages, tails, batch, keys, values)\n\n"
    "Adds the batch's tokens to one layer: pages that they fill are sealed into their blocks, the rest goes into the tails.\n\n"
    "pages  uint8 [blocks, num_kv_heads, ...], part_bytes(layer) or more for each; addresses and strides multiples of 64 bytes\n"
    "tails  [tails, 2, num_kv_heads, 128, head_dim] of tail_dtype: keys and values of open pages\n"
    "keys, values  [T, num_kv_heads, head_dim] float32, float16 or bfloat16, channels contiguous; T of the batch or more\n\n"
    "Errors: InvalidArgument on memory, shapes, types, fewer blocks than full pages, a block or tail id that is not there, a block "
    "or\ntail that would be written twice, NaN, infinity,\npages of a sketch behind a first one that nobody sealed. No sealed page "
    "and no tail has changed then.";

constexpr const char* kAttendText =
    "attend(layer, pages, tails, batch, queries, *, keys=None, values=None, out=None, scale=None, soft_cap=0.0, window=None, "
    "lse=False)\n\n"
    "Attention of the batch's queries [T, query_heads, head_dim], as KvCache.attend. With keys and values [T, num_kv_heads, "
    "head_dim]:\nover the tokens before the step, and exactly over these, which are not stored. Without: through what is stored, "
    "the batch's\ntokens included, which append has added.\n\n"
    "Returns out [T, query_heads, head_dim] float32, that of the caller or a new one; with lse=True (out, lse [T, "
    "query_heads]).\n\n"
    "Errors: InvalidArgument; also when a block holds no page of this layer's codes.";

constexpr const char* kStepText =
    "step(layer, pages, tails, batch, queries, keys, values, *, out=None, scale=None, soft_cap=0.0, window=None, lse=False)\n\n"
    "attend with keys and values, and append, in one call. Pages that fill are sealed before anyone attends, so that one "
    "request's\n"
    "new page may be the prefix of another in the same step.\n\n"
    "Errors: those of attend and append.";

void bind_calls(nb::class_<Paged>& c) {
  c.def(
      "append",
      [](Paged& self, int layer, nb::handle pages, nb::handle tails, const Batch& batch, nb::handle keys, nb::handle values) {
        append(self, {layer, pages, tails, batch}, keys, values);
      },
      nb::arg("layer"), nb::arg("pages").none(), nb::arg("tails").none(), nb::arg("batch"), nb::arg("keys").none(),
      nb::arg("values").none(), kAppendText);
  c.def(
      "attend",
      [](Paged& self, int layer, nb::handle pages, nb::handle tails, const Batch& batch, nb::handle queries, nb::handle keys,
         nb::handle values, nb::handle out, std::optional<float> scale, float soft_cap, std::optional<std::int64_t> window,
         bool lse) {
        return attend(self, {layer, pages, tails, batch}, queries, keys, values, {out, {scale, soft_cap, window}, lse});
      },
      nb::arg("layer"), nb::arg("pages").none(), nb::arg("tails").none(), nb::arg("batch"), nb::arg("queries").none(),
      nb::kw_only(), nb::arg("keys") = nb::none(), nb::arg("values") = nb::none(), nb::arg("out") = nb::none(),
      nb::arg("scale") = nb::none(), nb::arg("soft_cap") = 0.0f, nb::arg("window") = nb::none(), nb::arg("lse") = false,
      kAttendText);
  c.def(
      "step",
      [](Paged& self, int layer, nb::handle pages, nb::handle tails, const Batch& batch, nb::handle queries, nb::handle keys,
         nb::handle values, nb::handle out, std::optional<float> scale, float soft_cap, std::optional<std::int64_t> window,
         bool lse) {
        return step(self, {layer, pages, tails, batch}, queries, keys, values, {out, {scale, soft_cap, window}, lse});
      },
      nb::arg("layer"), nb::arg("pages").none(), nb::arg("tails").none(), nb::arg("batch"), nb::arg("queries").none(),
      nb::arg("keys").none(), nb::arg("values").none(), nb::kw_only(), nb::arg("out") = nb::none(), nb::arg("scale") = nb::none(),
      nb::arg("soft_cap") = 0.0f, nb::arg("window") = nb::none(), nb::arg("lse") = false, kStepText);
}

void bind_sizes(nb::class_<Paged>& c) {
  c.def(
       "page_bytes", [](const Paged& self, int layer) { return self.cache().page_bytes(layer); }, nb::arg("layer"),
       "page_bytes(layer) -> int\n\nBytes of a sealed page of one kv head, head and body.")
      .def(
          "part_bytes", [](const Paged& self, int layer) { return self.cache().part_bytes(layer); }, nb::arg("layer"),
          "part_bytes(layer) -> int\n\nWhat a block keeps for one kv head: a page and the sinks.")
      .def(
          "token_bytes", [](const Paged& self, int layer) { return (self.cache().part_bytes(layer) - 1) / kTokensPerPage + 1; },
          nb::arg("layer"), "token_bytes(layer) -> int\n\nThe same for each of a page's 128 tokens, rounded up.")
      .def_prop_ro("sink_bytes", [](const Paged& self) { return self.cache().sink_bytes(); })
      .def_prop_ro("tail_bytes", [](const Paged& self) { return self.cache().tail_bytes(); });
}

}  // namespace

void bind_paged(nb::module_& module) {
  nb::class_<Batch>(module, "Batch", "See qjl.paged.Batch, which reads the arguments.")
      .def(
          "__init__",
          [](Batch* self, nb::handle block_table, nb::handle starts, nb::handle num_tokens, nb::handle tail_ids) {
            new (self) Batch(block_table, starts, num_tokens, tail_ids);
          },
          nb::arg("block_table").none(), nb::arg("starts").none(), nb::arg("num_tokens").none(), nb::arg("tail_ids").none())
      .def("__len__", &Batch::size)
      .def_prop_ro("tokens", [](const Batch& self) { return self.tokens(); });
  nb::class_<Paged> c(module, "PagedCache", "See qjl.paged.PagedCache, which reads the arguments.");
  c.def(
      "__init__",
      [](Paged* self, int num_layers, int num_kv_heads, int head_dim, std::string cache_type,
         std::vector<std::pair<std::string, std::string>> layer_codes, nb::handle tail_dtype,
         std::vector<std::vector<double>> ropes, std::string rope_pairs, std::optional<int> sinks, int threads) {
        CacheConfig config = cache_config({num_layers, num_kv_heads, head_dim, std::move(cache_type), std::move(layer_codes),
                                           tail_dtype_of(tail_dtype), std::move(ropes), std::move(rope_pairs)});
        if (sinks) config.codec.sink_tokens = *sinks;
        new (self) Paged(std::move(config), threads);
      },
      nb::kw_only(), nb::arg("num_layers"), nb::arg("num_kv_heads"), nb::arg("head_dim"), nb::arg("cache_type"),
      nb::arg("layer_codes"), nb::arg("tail_dtype"), nb::arg("ropes"), nb::arg("rope_pairs"), nb::arg("sinks").none(),
      nb::arg("threads"));
  bind_config(c);
  bind_sizes(c);
  bind_calls(c);
}

}  // namespace qjl::python
