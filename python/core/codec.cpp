// PageCodec of Python: one page of one kv head, by itself.
#include "qjl/codec.hpp"

#include <algorithm>
#include <string>

#include "cache.hpp"
#include "config.hpp"
#include "tensors.hpp"

namespace qjl::python {
namespace {

struct Codec {
  PageCodec codec;
  int head_dim;
};

EncodedPage page_of(const nb::bytes& head, const nb::bytes& body) {
  const auto bytes = [](const nb::bytes& from) {
    const auto* first = reinterpret_cast<const std::byte*>(from.c_str());
    return std::vector<std::byte>(first, first + from.size());
  };
  return {bytes(head), bytes(body)};
}

nb::object rows(const std::vector<float>& numbers, std::int64_t count, std::int64_t dim) {
  const std::int64_t shape[] = {count, dim};
  const NewArray array = new_array(shape, false);
  std::ranges::copy(numbers, array.data);
  return array.object;
}

nb::tuple encode(const Codec& self, nb::handle keys, nb::handle values, int num_sinks) {
  const Tensor k = take(keys, 2, {"encode", "keys"}), v = take(values, 2, {"encode", "values"});
  const EncodedPage page = self.codec.encode(k.first, v.first, num_sinks);
  const auto bytes = [](const std::vector<std::byte>& from) {
    return nb::bytes(reinterpret_cast<const char*>(from.data()), from.size());
  };
  return nb::make_tuple(bytes(page.head), bytes(page.body));
}

nb::tuple decode(const Codec& self, const nb::bytes& head, const nb::bytes& body) {
  const EncodedPage page = page_of(head, body);
  const nb::object keys = rows(self.codec.decode_keys(page), kTokensPerPage, self.head_dim);
  return nb::make_tuple(keys, rows(self.codec.decode_values(page), kTokensPerPage, self.head_dim));
}

nb::object score(const Codec& self, nb::handle queries, const nb::bytes& head, const nb::bytes& body) {
  const Tensor q = take(queries, 2, {"score", "queries"});
  return rows(self.codec.score(q.first, page_of(head, body)), q.first.tokens, kTokensPerPage);
}

}  // namespace

void bind_codec(nb::module_& module) {
  nb::class_<Codec>(module, "PageCodec",
                    "PageCodec(head_dim, cache='k3v2', *, rope=None, rope_pairs='halves')\n\n"
                    "One page of 128 tokens of one kv head, by itself: what KvCache does inside. rope: radians a token of each "
                    "pair of channels.\n\n"
                    "Errors: InvalidArgument on head_dim (64, 80, 96, 128 or 256), cache type or rope.")
      .def(
          "__init__",
          [](Codec* self, int head_dim, const std::string& cache, nb::object rope, const std::string& rope_pairs) {
            CodecConfig config = codec_config(cache);
            if (!rope.is_none()) config.rope = rope_of(nb::cast<std::vector<double>>(rope), rope_pairs);
            new (self) Codec{PageCodec(head_dim, config), head_dim};
          },
          nb::arg("head_dim"), nb::arg("cache") = "k3v2", nb::kw_only(), nb::arg("rope") = nb::none(),
          nb::arg("rope_pairs") = "halves")
      .def_prop_ro("head_dim", [](const Codec& self) { return self.head_dim; })
      .def(
          "page_bytes", [](const Codec& self) { return self.codec.page_bytes(); },
          "page_bytes() -> int\n\nBytes of a page, head and body.")
      .def("encode", encode, nb::arg("keys").none(), nb::arg("values").none(), nb::arg("num_sinks") = 0,
           "encode(keys, values, num_sinks=0) -> (head, body)\n\nCodes keys and values [128, head_dim]; the first num_sinks tokens "
           "are left "
           "out.\n\nErrors: InvalidArgument.")
      .def("decode", decode, nb::arg("head"), nb::arg("body"),
           "decode(head, body) -> (keys, values)\n\nThe numbers that a page stands for, [128, head_dim] float32 each. Sinks read "
           "as the page "
           "mean (keys) and 0 (values).\n\nErrors: InvalidArgument on bytes of another length, format or code.")
      .def("score", score, nb::arg("queries").none(), nb::arg("head"), nb::arg("body"),
           "score(queries, head, body) -> array\n\nEstimates <q, k> for queries [n, head_dim] and all tokens: [n, 128] float32.\n\n"
           "Errors: InvalidArgument.");
}

}  // namespace qjl::python
