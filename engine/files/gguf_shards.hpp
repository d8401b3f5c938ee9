// A model in several GGUF files, NAME-00001-of-0000N.gguf and on: the first has the metadata, each its tensors.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "gguf_parse.hpp"
#include "mapped_file.hpp"

namespace qjl::engine {

// Of a first file that was parsed already: opens the others, which lie beside it, and adds their tensors to `parts`.
// Keys: split.no, split.count, split.tensors.count. Errors: bad_file when `path` is not the first, or a file says another number than
// its name, or tensors are missing or twice; io on a missing file (named).
std::vector<std::unique_ptr<MappedFile>> open_other_shards(const std::filesystem::path& path, GgufParts& parts);

}  // namespace qjl::engine
