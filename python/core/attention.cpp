// attend and step of Python's KvCache, one call for a whole batch; merge of two results.
//
//   queries [batch, heads, tokens, channels] with a sequence for each row -> out [batch, tokens, heads, channels], lse [batch, heads, tokens]
#include <nanobind/stl/optional.h>

#include <optional>

#include "cache.hpp"
#include "errors.hpp"
#include "qjl/merge.hpp"
#include "tensors.hpp"

namespace qjl::python {
namespace {

// The arrays of one call.
struct Call {
  std::vector<std::int64_t> sequences;
  Tensor queries;
  std::optional<Tensor> keys, values;
  AttendOptions options;

  Call(nb::handle query_array, nb::handle sequence_list, nb::handle key_array, nb::handle value_array, const AttendChoices& o)
      : sequences(whole_numbers(sequence_list, {"attend", "sequences"})),
        queries(take(query_array, 4, {"attend", "queries"})),
        options(attend_options(o)) {
    require(key_array.is_none() == value_array.is_none(), "attend", "found ", key_array.is_none() ? "values" : "keys",
            " alone, wanted keys and values, or neither");
    check_batch(queries, "queries");
    if (key_array.is_none()) return;
    keys = take(key_array, 4, {"attend", "keys"});
    values = take(value_array, 4, {"attend", "values"});
    check_batch(*keys, "keys");
    check_batch(*values, "values");
    for (const Tensor* each : {&*keys, &*values}) {
      const std::int64_t tokens = queries.first.tokens;
      require(each->first.tokens == tokens, "attend", each == &*keys ? "keys" : "values", " have ", each->first.tokens,
              " tokens, wanted ", tokens, " as the queries");
    }
  }

  void check_batch(const Tensor& tensor, const char* name) const {
    require(tensor.batch == std::ssize(sequences), "attend", name, " have a batch of ", tensor.batch, ", wanted ", sequences.size(),
            " as the sequences");
  }

  // bf16 all over: then products of bf16 round nothing but the weights, as torch's own do.
  bool packs(const CacheConfig& config) const {
    return keys && config.tail_dtype == DType::bf16 && queries.first.dtype == DType::bf16 && keys->first.dtype == DType::bf16 &&
           values->first.dtype == DType::bf16;
  }
};

struct Results {
  NewArray out, lse;
};

Results new_results(const Tensor& queries, bool with_lse, bool of_torch) {
  const TensorView& q = queries.first;
  const std::int64_t out[] = {queries.batch, q.tokens, q.heads, q.dim}, lse[] = {queries.batch, q.heads, q.tokens};
  return {new_array(out, of_torch), with_lse ? new_array(lse, of_torch) : NewArray{}};
}

void fill_requests(const Call& call, const Results& results, std::vector<AttendRequest>& requests) {
  const TensorView& q = call.queries.first;
  requests.clear();
  for (std::int64_t i = 0; i < call.queries.batch; ++i) {
    AttendRequest& r = requests.emplace_back();
    r.sequence = id(call.sequences[static_cast<std::size_t>(i)]);
    r.queries = call.queries.row(i);
    if (call.keys) r.chunk_keys = call.keys->row(i), r.chunk_values = call.values->row(i);
    const std::int64_t numbers = q.tokens * q.heads;
    r.out = OutputView::token_major(results.out.data + i * numbers * q.dim, q.heads, q.tokens, q.dim, q.heads * q.dim);
    r.lse = results.lse.data == nullptr ? nullptr : results.lse.data + i * numbers;
  }
}

nb::object as_python(const Results& results) {
  return results.lse.data == nullptr ? results.out.object : nb::make_tuple(results.out.object, results.lse.object);
}

nb::object attend_batch(const Cache& self, int layer, const Call& call, const Results& results) {
  AttendOptions options = call.options;
  if (call.packs(self.config())) options.chunk_products = ChunkProducts::bf16;
  self.look_with_threads([&](const KvCache& cache) {
    std::unique_ptr<AttendScratch> scratch = self.borrow();
    fill_requests(call, results, scratch->requests);
    attend(cache, layer, scratch->requests, options, scratch->plan, self.queue());
    self.give_back(std::move(scratch));
  });
  return as_python(results);
}

struct Partial {
  Tensor out, lse;

  // Outputs are [batch, tokens, heads, channels], which a view calls heads, tokens, dim.
  AttendResult row(std::int64_t i) const {
    const TensorView o = out.row(i);
    return {{o.data, o.dtype, o.tokens, o.heads, o.dim, o.token_stride, o.head_stride, o.device},
            static_cast<const float*>(lse.first.data) + i * lse.first.head_stride,
            lse.first.token_stride};
  }
};

Partial take_partial(nb::handle out, nb::handle lse) {
  Partial partial{take(out, 4, {"merge", "outputs"}), take(lse, 3, {"merge", "lse"})};
  const TensorView &o = partial.out.first, &l = partial.lse.first;
  require(l.dtype == DType::f32 && l.device == Device::cpu(), "merge", "lse is not float32 of the host, wanted what attend gives");
  require(l.heads == partial.out.batch && l.tokens == o.tokens && l.dim == o.heads, "merge", "lse is [", l.heads, ", ", l.tokens,
          ", ", l.dim, "], wanted [", partial.out.batch, ", ", o.tokens, ", ", o.heads, "] beside these outputs");
  return partial;
}

nb::object merge_parts(nb::handle out_a, nb::handle lse_a, nb::handle out_b, nb::handle lse_b) {
  const Partial a = take_partial(out_a, lse_a), b = take_partial(out_b, lse_b);
  const TensorView& o = a.out.first;
  const std::int64_t batch = a.out.batch, tokens = o.heads, heads = o.tokens, dim = o.dim;
  require(b.out.batch == batch, "merge", "the second outputs have a batch of ", b.out.batch, ", wanted ", batch, " as the first");
  const std::int64_t out_shape[] = {batch, tokens, heads, dim}, lse_shape[] = {batch, heads, tokens};
  const bool of_torch = is_torch(out_a);
  const Results results{new_array(out_shape, of_torch), new_array(lse_shape, of_torch)};
  {
    const nb::gil_scoped_release without_interpreter;
    for (std::int64_t i = 0; i < batch; ++i) {
      float* out = results.out.data + i * tokens * heads * dim;
      merge(a.row(i), b.row(i), OutputView::token_major(out, heads, tokens, dim, heads * dim),
            results.lse.data + i * heads * tokens);
    }
  }
  return as_python(results);
}

constexpr const char* kAttendText =
    "attend(layer, queries, sequences, *, keys=None, values=None, scale=None, soft_cap=0.0, window=None, lse=False)\n\n"
    "Softmax attention of new queries [batch, query_heads, tokens, head_dim] over the cached tokens of sequences, a list with a\n"
    "sequence for each row, and, exactly and causally, over the queries' own keys and values [batch, num_kv_heads, tokens,\n"
    "head_dim], which are not appended. Without keys the queries are those of the last cached tokens.\n\n"
    "    s = cap(scale <q, k>), cap(x) = soft_cap tanh(x / soft_cap);  out = softmax(s) v;  lse = log sum exp(s)\n\n"
    "scale None: 1 / sqrt(head_dim). soft_cap 0: none. window: a query sees positions above its own - window; None: all.\n"
    "Returns out [batch, tokens, query_heads, head_dim] float32, or (out, lse [batch, query_heads, tokens]) with lse=True: torch\n"
    "tensors for torch queries, else NumPy arrays. A query that sees nothing has out 0 and lse -inf.\n\n"
    "Errors: InvalidArgument on shapes, types, strides, NaN, infinity, an unknown sequence or layer.";

constexpr const char* kStepText =
    "step(layer, queries, sequences, keys, values, *, scale=None, soft_cap=0.0, window=None, lse=False)\n\n"
    "attend with the new tokens, then append them: what a model's layer does, in one call.\n\n"
    "Errors: those of attend and append; the cache is as it was then.";

constexpr const char* kMergeText =
    "merge(out_a, lse_a, out_b, lse_b) -> (out, lse)\n\n"
    "Attention over two disjoint sets of tokens, from the results over each: out [batch, tokens, heads, head_dim], lse [batch, "
    "heads,\n"
    "tokens], as attend gives them. A part that saw nothing (lse -inf) counts for nothing.\n\n"
    "Errors: InvalidArgument on shapes, types, and lse that is NaN or +inf.";

}  // namespace

AttendOptions attend_options(const AttendChoices& o) {
  require(!o.scale || *o.scale != 0.0f, "attend", "scale is 0, wanted another number, or None for 1 / sqrt(head_dim)");
  require(!o.window || *o.window > 0, "attend", "window is ", o.window.value_or(0), ", wanted 1 or more, or None");
  return {.softmax_scale = o.scale.value_or(0.0f),
          .logit_soft_cap = o.soft_cap,
          .sliding_window = o.window.value_or(0),
          .chunk_products_from = kPackedTokens};
}

void bind_attention(nb::class_<Cache>& cache, nb::module_& module) {
  cache.def(
      "attend",
      [](const Cache& self, int layer, nb::handle queries, nb::handle sequences, nb::handle keys, nb::handle values,
         std::optional<float> scale, float soft_cap, std::optional<std::int64_t> window, bool lse) {
        const Call call(queries, sequences, keys, values, {scale, soft_cap, window});
        return attend_batch(self, layer, call, new_results(call.queries, lse, is_torch(queries)));
      },
      nb::arg("layer"), nb::arg("queries").none(), nb::arg("sequences").none(), nb::kw_only(), nb::arg("keys") = nb::none(),
      nb::arg("values") = nb::none(), nb::arg("scale") = nb::none(), nb::arg("soft_cap") = 0.0f, nb::arg("window") = nb::none(),
      nb::arg("lse") = false, kAttendText);
  cache.def(
      "step",
      [](Cache& self, int layer, nb::handle queries, nb::handle sequences, nb::handle keys, nb::handle values,
         std::optional<float> scale, float soft_cap, std::optional<std::int64_t> window, bool lse) {
        const Call call(queries, sequences, keys, values, {scale, soft_cap, window});
        require(call.keys.has_value(), "step", "found no keys and values, wanted those of the queries' tokens");
        const nb::object result = attend_batch(self, layer, call, new_results(call.queries, lse, is_torch(queries)));
        self.append(call.sequences, layer, *call.keys, *call.values);
        return result;
      },
      nb::arg("layer"), nb::arg("queries").none(), nb::arg("sequences").none(), nb::arg("keys").none(), nb::arg("values").none(),
      nb::kw_only(), nb::arg("scale") = nb::none(), nb::arg("soft_cap") = 0.0f, nb::arg("window") = nb::none(),
      nb::arg("lse") = false, kStepText);
  module.def("merge", merge_parts, nb::arg("out_a").none(), nb::arg("lse_a").none(), nb::arg("out_b").none(),
             nb::arg("lse_b").none(), kMergeText);
}

}  // namespace qjl::python
