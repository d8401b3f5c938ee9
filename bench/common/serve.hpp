// Lets a driver in another language time our calls between its own: one JSON request a line in, one JSON answer a line out.
#pragma once

#include <functional>

#include "machine.hpp"

namespace qjl::bench {

// Answers each line of standard input until its end. An exception becomes {"error": ...}.
void answer_lines(const std::function<Json(const Json&)>& answer);

// `qjl_bench serve`: {"cache", "head_dim", "kv_heads", "group", "tokens", "threads"} -> {"seconds", "bytes"} of one cold decode
// step of attention. cache: a cache type, or exact_pairs, exact_rows. With "steps": N the seconds of N warm ones of a cache type, each
// with a new token that is appended; "rope": radians by which pairs of channels turn. What a request needs is kept for the next of the
// same shape.
void serve_attention();

}  // namespace qjl::bench
