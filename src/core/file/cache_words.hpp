// The words of a saved cache: its metadata, and what they say of the cache.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "layer_groups.hpp"
#include "qjl/cache_file.hpp"

namespace qjl {

// Of files without and with layer_retention, and with recurrent_numbers.
inline constexpr int kCacheFileVersion = 1, kForgettingVersion = 2, kRecurrentVersion = 3;
inline constexpr std::string_view kNotePrefix = "note.";

// A word and what stands behind it, for readers of docs/cache_file.md. Optional ones may be missing.
struct CacheWord {
  std::string_view name, what;
  bool optional = false;
};
inline constexpr CacheWord kCacheWords[] = {
    {"format", "`qjl-kv`"},
    {"format_version", "of this file, the words and tensors below: 1, 2 with `layer_retention`, 3 with `recurrent_numbers`"},
    {"library", "what wrote it"},
    {"page_format", "version of the pages' bytes, docs/format.md"},
    {"cache", "cache type with its options, `k3v2:seed=7`; with `layer_codes` only its options count"},
    {"seed", "of the frames and sketches"},
    {"layer_codes", "of a plan: a cache type for each layer, `k3v2,k4v3,...`", true},
    {"num_layers", "of the cache"},
    {"num_kv_heads", "of a layer"},
    {"head_dim", "channels of a head"},
    {"tail_type", "of sinks and tails: `f16` or `bf16`"},
    {"rope_frequencies",
     "radians a token of each pair, `1,0.86,...`, none when keys do not turn; lists of several RoPEs are parted by `;`"},
    {"rope_pairs", "`halves`: channels (i, i + size) turn together, or `interleaved`: (2 i, 2 i + 1)"},
    {"layer_ropes", "where layers differ: the number of each layer's list in `rope_frequencies`", true},
    {"layer_windows", "where layers have them: how many tokens back a query sees, 0 for all", true},
    {"layer_retention",
     "where layers forget: how many of their last tokens they keep at least, 0 for all. Layers of equal numbers are a group, page "
     "tables "
     "and pages are a group's; groups are in the order of their first layers",
     true},
    {"recurrent_numbers", "where layers without keys keep a state beside the cache: how many numbers of each sequence", true},
    {"layer_types", "of the model's layers, compressed or not, in the words of Transformers: `full_attention,sliding_attention`",
     true},
    {"model", "its name, may be empty"},
    {"num_tokens", "of each sequence, the same in every layer: `1300,200`"},
    {"num_token_ids", "of each sequence: at least its tokens, those beyond are still to be processed; 0: not told"},
    {"num_pages", "different pages of all sequences; with `layer_retention` those of each group"},
};

// What a file holds, but for the bytes.
struct CacheContents {
  CacheConfig config;
  CacheFileInfo info;                                   // token ids and exact tensors stand elsewhere
  std::vector<std::int64_t> num_pages;                  // [groups of layers]
  std::vector<std::int64_t> num_tokens, num_token_ids;  // [sequences]

  std::int64_t sealed_pages(std::size_t sequence) const;
  std::int64_t open_tokens(std::size_t sequence) const;
  std::int64_t sink_tokens(std::size_t sequence) const;  // exact rows of its first tokens
};

// Errors: invalid_argument on what words cannot say.
std::map<std::string, std::string> words_of(const CacheContents& contents);

// Errors: bad_file (found and wanted). Nothing is allocated by a number of the file.
CacheContents contents_of(const std::map<std::string, std::string>& words);

}  // namespace qjl
