// The module qjl._core: the doors of the library for Python.
#include <nanobind/stl/string_view.h>

#include "cache.hpp"
#include "errors.hpp"
#include "qjl/codec.hpp"
#include "qjl/config.hpp"
#include "qjl/simd.hpp"

NB_MODULE(_core, module) {
  using namespace qjl::python;
  module.doc() = "The library behind qjl. Use the package's own names.";
  module.attr("__version__") = QJL_VERSION;
  module.attr("PAGE_TOKENS") = qjl::kTokensPerPage;
  nb::list dims, codes;
  for (const int dim : qjl::head_dims()) dims.append(dim);
  module.attr("HEAD_DIMS") = nb::tuple(dims);
  for (const qjl::Code code : qjl::plan_codes()) codes.append(qjl::code_name(code));
  module.attr("PLAN_CODES") = nb::tuple(codes);
  translate_errors();
  bind_cache(module);
  bind_codec(module);
  bind_paged(module);
  module.def(
      "simd_target", [] { return qjl::simd_target_name(qjl::simd_target()); },
      "simd_target() -> str\n\nThe instruction set that the kernels use, or that QJL_CPU_TARGET names.\n\n"
      "Errors: InvalidArgument when that one is unknown or not of this processor.");
}
