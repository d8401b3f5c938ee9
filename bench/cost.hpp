// `qjl_bench cost`: what a token of one kv head costs by formula, for every preset.
//
//   bytes         from the page layout itself (page.hpp): a page / 128
//   instructions  of the AVX-512 VBMI kernels, counted from their loops: docs/cost_model.md derives each term
#pragma once

#include "machine.hpp"

namespace qjl::bench {

// One row a preset and head_dim: bytes by part of the page and in all.
Json cost_report();

}  // namespace qjl::bench
