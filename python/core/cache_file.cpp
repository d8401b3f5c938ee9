// Saved caches: save of KvCache, and CacheFile, from which one is loaded.
#include "qjl/cache_file.hpp"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <map>
#include <memory>

#include "cache.hpp"
#include "errors.hpp"
#include "qjl/codec.hpp"

namespace qjl::python {
namespace {

// What open() of Python takes.
std::string path_of(nb::handle path) {
  const nb::object text = nb::steal(PyOS_FSPath(path.ptr()));
  if (!text.is_valid()) throw nb::python_error();
  if (PyBytes_Check(text.ptr())) return std::string(nb::cast<nb::bytes>(text).c_str());
  const nb::object bytes = nb::steal(PyUnicode_EncodeFSDefault(text.ptr()));
  if (!bytes.is_valid()) throw nb::python_error();
  return PyBytes_AsString(bytes.ptr());
}

struct SaveOptions {
  std::vector<std::int64_t> sequences;
  CacheFileInfo info;
};

void save(const Cache& self, nb::handle path, const SaveOptions& options, const nb::dict& exact) {
  CacheFileInfo info = options.info;
  std::vector<FlatArray> arrays;  // hold the memory
  for (const auto& [name, array] : exact) {
    const std::string text = nb::cast<std::string>(name);
    const FlatArray& taken = arrays.emplace_back(take_flat(array, {"save", text}));
    info.exact.push_back({text, taken.dtype, taken.shape, taken.data});
  }
  std::vector<SequenceId> sequences;
  for (const std::int64_t sequence : options.sequences) sequences.push_back(id(sequence));
  const std::string name = path_of(path);
  self.look_with_threads([&](const KvCache& cache) { save_cache(name, cache, sequences, info, self.queue()); });
}

const char* type_word(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float32";
    case DType::f16: return "float16";
    case DType::bf16: return "bfloat16";
  }
  return "";
}

// A copy for Python: (type, array); bfloat16 as the bits, uint16.
nb::tuple exact_array(const ExactTensor& tensor) {
  const nb::module_ numpy = nb::module_::import_("numpy");
  std::int64_t bytes = dtype_bytes(tensor.dtype);
  nb::list shape;
  for (const std::int64_t extent : tensor.shape) bytes *= extent, shape.append(extent);
  const nb::bytes memory(static_cast<const char*>(tensor.data), static_cast<std::size_t>(bytes));
  const char* held = tensor.dtype == DType::bf16 ? "uint16" : type_word(tensor.dtype);
  const nb::object array = numpy.attr("frombuffer")(memory, nb::arg("dtype") = held).attr("reshape")(nb::tuple(shape));
  return nb::make_tuple(type_word(tensor.dtype), array);
}

nb::dict exact_arrays(const CacheFile& file) {
  nb::dict arrays;
  for (const ExactTensor& tensor : file.info().exact) arrays[tensor.name.c_str()] = exact_array(tensor);
  return arrays;
}

constexpr const char* kFileText =
    "CacheFile(path)\n\n"
    "A saved cache, opened: every number of it is checked, no page is read yet. KvCache.load(path) makes a cache of it.\n\n"
    "Errors: FileError; BadFile on what is damaged, truncated, foreign or of a later version.";

}  // namespace

void bind_cache_file(nb::class_<Cache>& cache, nb::module_& module) {
  nb::class_<CacheFile> file(module, "CacheFile", kFileText);
  file.def(
          "__init__",
          [](CacheFile* self, nb::handle path) {
            const std::string name = path_of(path);
            const nb::gil_scoped_release without_interpreter;
            new (self) CacheFile(name);
          },
          nb::arg("path"))
      .def_prop_ro(
          "model", [](const CacheFile& self) { return self.info().model; }, "The model's name, may be empty.")
      .def_prop_ro(
          "layer_types", [](const CacheFile& self) { return self.info().layer_types; },
          "Of the model's layers, compressed or not: full_attention, sliding_attention ...; [] when not told.")
      .def_prop_ro(
          "token_ids", [](const CacheFile& self) { return self.info().token_ids; },
          "Of each sequence: those that it holds, then any that are still to be processed; [] when not told.")
      .def_prop_ro(
          "notes", [](const CacheFile& self) { return self.info().notes; }, "The writer's own words.")
      .def_prop_ro(
          "num_tokens", [](const CacheFile& self) { return self.num_tokens(); }, "Of each sequence.")
      .def("exact", exact_arrays,
           "exact() -> dict[str, tuple[str, array]]\n\nTensors of layers that stay exact: type and a copy as NumPy array; bfloat16 "
           "as its "
           "bits, uint16.")
      .def(
          "check_model", [](const CacheFile& self, const Cache& model) { self.check_model(model.config()); }, nb::arg("cache"),
          "check_model(cache)\n\nErrors: InvalidArgument unless a model whose empty cache that is can go on with the file: layers, "
          "heads, "
          "head_dim\nand RoPE. rope_pairs may differ: then the caller permutes channels of queries and new keys.");
  cache.def(
      "__init__",
      [](Cache* self, const CacheFile& saved, std::int64_t max_tokens, int threads) {
        require(max_tokens >= 0, "load", "max_tokens is ", max_tokens, ", wanted 1 or more, or None for those of the file");
        const nb::gil_scoped_release without_interpreter;
        new (self) Cache(saved.load((max_tokens + kTokensPerPage - 1) / kTokensPerPage), threads);
      },
      nb::kw_only(), nb::arg("saved"), nb::arg("max_tokens"), nb::arg("threads"));
  cache.def(
      "_save",
      [](const Cache& self, nb::handle path, std::vector<std::int64_t> sequences, std::vector<std::vector<std::int64_t>> token_ids,
         std::string model, std::vector<std::string> layer_types, std::map<std::string, std::string> notes, const nb::dict& exact) {
        const SaveOptions options{std::move(sequences),
                                  {std::move(model), std::move(layer_types), std::move(token_ids), std::move(notes), {}}};
        save(self, path, options, exact);
      },
      nb::arg("path"), nb::kw_only(), nb::arg("sequences"), nb::arg("token_ids"), nb::arg("model"), nb::arg("layer_types"),
      nb::arg("notes"), nb::arg("exact"), "See qjl.KvCache.save, which reads the arguments.");
}

}  // namespace qjl::python
