// The tensors of a saved cache: names, types, shapes, from what its words say. Writer and reader both ask here.
//
//   pages.L          U8  [kv_heads, bytes]                             bodies of layer L, page after page, zeros to a whole 4096 bytes
//   page_heads.L     U8  [kv_heads, pages, 16]
//   page_table.S     I64 [sealed pages of sequence S]                  which pages, in order; [groups, sealed pages] where layers
//                                                                      forget, -1 for what is forgotten
//   token_ids.S      I64 [num_token_ids]
//   sinks.S          F16 [layers, keys and values, kv_heads, sinks, head_dim]
//   tail.S           F16 [layers, keys and values, kv_heads, open tokens, head_dim]
//   recurrent.S      F32 [recurrent_numbers]                           after the sequence's tokens; where layers keep a state
//   exact.NAME       the caller's
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cache_words.hpp"
#include "safetensors.hpp"

namespace qjl {

// Streams of pages start at a multiple of it, so that they can be mapped: the page of most systems.
inline constexpr std::int64_t kStreamAlignment = 4096;
inline constexpr std::int64_t kForgottenPage = -1;  // in a page table
inline constexpr const char* kExactPrefix = "exact.";

std::string pages_name(int layer);
std::string page_heads_name(int layer);
std::string page_table_name(std::size_t sequence);
std::string token_ids_name(std::size_t sequence);
std::string sinks_name(std::size_t sequence);
std::string tail_name(std::size_t sequence);
std::string recurrent_name(std::size_t sequence);

// In the order of a file: pages first, then by falling size of a number, so that each stands at a multiple of it. The exact ones of
// info among them. Errors: bad_file when a size does not fit 63 bits.
std::vector<StoredTensor> tensors_of(const CacheContents& contents);

FileType file_type(DType dtype);

}  // namespace qjl
