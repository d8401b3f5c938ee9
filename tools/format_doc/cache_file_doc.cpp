// docs/cache_file.md: the table of words is that of cache_words.hpp; the tensors and the header's words shown are those of one
// cache, placed as save_cache places them.
#include "cache_file_doc.hpp"

#include <sstream>

#include "cache_tensors.hpp"
#include "page.hpp"

namespace qjl {
namespace {

// Two sequences of two layers: one with three pages and an open tail, one that shares two pages of it.
CacheContents example() {
  CacheContents contents;
  CacheConfig& config = contents.config;
  config.num_layers = 2;
  config.num_kv_heads = 3;
  config.head_dim = 64;
  config.codec = codec_config("k3v2");
  config.codec.rope.frequency = {1.0, 0.5, 0.25};
  contents.info.model = "a model";
  contents.info.layer_types = {"full_attention", "full_attention", "sliding_attention"};
  contents.info.exact = {{"2.keys", DType::f16, {1, 3, 512, 64}, nullptr}};
  contents.info.notes = {{"anything", "the writer's own"}};
  contents.num_tokens = {3 * layout::kPageTokens + 16, 2 * layout::kPageTokens};
  contents.num_token_ids = {contents.num_tokens[0] + 1, 0};
  contents.num_pages = {3};
  return contents;
}

void write_words(std::ostringstream& out) {
  out << "## Words\n\nMetadata, all of them strings; numbers are decimal, lists are parted by commas. A reader refuses words that "
         "it\n"
         "does not know.\n\n| word | what |\n|---|---|\n";
  for (const CacheWord& word : kCacheWords) {
    out << "| `" << word.name << "` | " << word.what << (word.optional ? "; may be missing" : "") << " |\n";
  }
  out << "| `" << kNotePrefix << "NAME` | the writer's own, any text; `qjl chat` keeps its conversation in `" << kNotePrefix
      << "messages`, JSON, and engine and Transformers RoPE's magnitude in each layer, where one is not 1, in `" << kNotePrefix
      << "rope_magnitudes`: `1.13862944 1` |\n";
}

void write_tensors(std::ostringstream& out) {
  out << "\n## Tensors\n\n| name | type, shape | what |\n|---|---|---|\n"
      << "| `pages.L` | U8 [kv heads, bytes] | bodies of layer L, of its group's pages, page i of a kv head at byte i * (bytes of "
         "a body) of its row; "
         "zeros to "
         "a whole "
      << kStreamAlignment << " bytes |\n"
      << "| `page_heads.L` | U8 [kv heads, pages, " << sizeof(layout::PageHead) << "] | their heads |\n"
      << "| `page_table.S` | I64 [pages] | of sequence S: which pages are its tokens 0 .. " << layout::kPageTokens - 1 << ", "
      << layout::kPageTokens << " .. " << 2 * layout::kPageTokens - 1 << " ...; sequences may share pages. With `layer_retention` "
      << "[groups, pages], " << kForgottenPage << " for pages that the group's layers have forgotten, which are its first |\n"
      << "| `token_ids.S` | I64 [`num_token_ids`] | its text |\n"
      << "| `sinks.S` | `tail_type` [layers, 2, kv heads, sinks, head_dim] | keys, then values of the first tokens, exact; none "
         "before "
         "page 0 is sealed |\n"
      << "| `tail.S` | `tail_type` [layers, 2, kv heads, tokens, head_dim] | keys, then values of the tokens after the last page "
         "|\n"
      << "| `recurrent.S` | F32 [`recurrent_numbers`] | of layers without keys, after the sequence's tokens; only with that word "
         "|\n"
      << "| `exact.NAME` | F16, BF16 or F32, any | what a hybrid model keeps beside the cache |\n";
}

void write_example(std::ostringstream& out) {
  const CacheContents contents = example();
  Safetensors file{words_of(contents), tensors_of(contents)};
  const std::string header = place_tensors(file, kStreamAlignment);
  out << "\n## An example\n\nTwo layers, three kv heads, head_dim 64; a sequence of " << contents.num_tokens[0]
      << " tokens whose last id is still to be processed, and one of\n"
      << contents.num_tokens[1] << " that shares its pages. Length and header are " << header.size() << " bytes.\n\n```\n";
  for (const auto& [name, word] : file.words) {
    if (name != "library") out << name << " = " << word << '\n';
  }
  out << "```\n\n| tensor | type | shape | bytes of the file |\n|---|---|---|--:|\n";
  for (const StoredTensor& tensor : file.tensors) {
    out << "| `" << tensor.name << "` | " << file_type_name(tensor.type) << " |";
    for (const std::int64_t extent : tensor.shape) out << ' ' << extent;
    out << " | " << tensor.begin << " .. " << tensor.end << " |\n";
  }
}

}  // namespace

std::string cache_file_markdown() {
  std::ostringstream out;
  out << "# Saved caches, versions " << kCacheFileVersion << " to " << kRecurrentVersion << "\n\n"
      << "Made by `tools/format_doc/cache_file_doc.cpp` from `src/core/file/cache_words.hpp` and `cache_tensors.hpp`; a test "
         "compares.\n"
      << "`include/qjl/cache_file.hpp` writes and reads it; the bytes of a page are in [format.md](format.md).\n\n"
      << "A saved cache, `*.qjlkv.safetensors`, is a safetensors file: any reader of that format opens it. The header is padded so "
         "that\n"
      << "the data begins at a multiple of " << kStreamAlignment
      << " bytes, and so does each kv head's row of `pages.L`. It is mapped\n"
      << "there, privately, over the memory of a new cache, and attended to in place: processes that load one file share its "
         "pages.\n"
      << "A file that another program wrote anew, its tensors elsewhere, is as good; its pages are then read.\n\n"
      << "Every number is checked before memory is taken by it. What is damaged, truncated, foreign or of a later version is "
         "refused\n"
      << "with what was found and wanted. Codes and scale bytes inside a page may be any bytes and are not checked.\n\n"
      << "Keys have turned by RoPE before they are stored, so their channels stand as the writer's model has them: GGUF files of\n"
      << "the llama family hold the rows of q and k permuted (`interleaved`), Transformers does not (`halves`). A reader of the "
         "other\n"
      << "kind permutes the channels of queries and new keys: of pair i, channels (2 i, 2 i + 1) to (i, i + size), or back.\n\n";
  write_words(out);
  write_tensors(out);
  write_example(out);
  return out.str();
}

}  // namespace qjl
