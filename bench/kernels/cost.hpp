// `qjl_bench cost`: what a token of one kv head costs, for every preset.
//
//   bytes         by part of the page, from the page layout itself (page.hpp): a page / 128
//   instructions  of attend(), counted by the processor for 1, 4 and 8 query heads per kv head
#pragma once

#include "machine.hpp"

namespace qjl::bench {

// One row a preset, head_dim and number of query heads. Instructions are null where the processor's counter cannot be read.
Json cost_report();

}  // namespace qjl::bench
