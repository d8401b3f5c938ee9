// Saved caches of `run` and `chat`: the file that a generator goes on with, and what a conversation leaves in one.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "chat.hpp"
#include "generate.hpp"
#include "options.hpp"
#include "qjl/cache_file.hpp"

namespace qjl::cli {

// What --load-cache names, opened; none when it names nothing. Fails now, not after the work, where --save-cache cannot be written.
// Errors: Usage when --cache (or -ctk, -ctv) is another than the file's; those of CacheFile.
std::optional<CacheFile> open_saved(const SavedCacheOptions& options, const CacheOptions& cache);

// Tokens of a new text behind those of a saved one: a bos that a text begins with is not repeated.
std::vector<engine::Token> joined(std::span<const engine::Token> before, std::span<const engine::Token> text,
                                  const engine::TokenizerData& data);

// The conversation that `chat` saved, empty when there is none. Errors: bad_file.
engine::ChatJson saved_messages(const CacheFile& file);

// With --save-cache: writes the generator's cache, and the conversation where there is one.
void save_generator(const engine::Generator& generator, const SavedCacheOptions& options,
                    const engine::ChatJson& messages = engine::ChatJson::array());

}  // namespace qjl::cli
