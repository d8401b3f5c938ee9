// Writes the seed corpora: make_seeds FOLDER gives FOLDER/gguf_fuzz/*, FOLDER/cache_type_fuzz/*, ... No binary file is kept in the
// repository; a fuzzer adds what it finds to the same folders.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "gguf_builder.hpp"
#include "hf_builder.hpp"
#include "qjl/cache_file.hpp"
#include "shard_folder.hpp"

namespace {

using namespace qjl_test;
namespace fs = std::filesystem;

void write(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void write(const fs::path& path, const Bytes& bytes) {
  write(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

GgufBuilder with_config(GgufBuilder builder, const std::string& architecture) {
  const std::string prefix = architecture + ".";
  builder.u32(prefix + "block_count", 1).u32(prefix + "context_length", 64).u32(prefix + "embedding_length", 64);
  builder.u32(prefix + "feed_forward_length", 64).u32(prefix + "attention.head_count", 1).u32(prefix + "vocab_size", 32);
  builder.f32(prefix + "attention.layer_norm_rms_epsilon", 1e-5f).f32(prefix + "rope.freq_base", 1e4f);
  return builder.text(prefix + "rope.scaling.type", "linear").f32(prefix + "rope.scaling.factor", 2.0f);
}

void gguf_seeds(const fs::path& folder) {
  write(folder / "empty", GgufBuilder().build());
  write(folder / "bpe", with_config(small_bpe(), "llama").tensor("token_embd.weight", {64, 2}, 8, counting_bytes(136)).build());
  write(folder / "spm", with_config(small_spm(), "llama").tensor("output.weight", {256}, 14, counting_bytes(210)).build());
  GgufBuilder numbers;
  numbers.text("general.architecture", "qwen3").alignment(64).numbers<float>("f", 6, {1, 2}).numbers<std::int8_t>("i", 1, {-1, 1});
  numbers.numbers<std::uint64_t>("u", 10, {1}).boolean("b", true).tensor("a", {3, 2}, 0, counting_bytes(24));
  write(folder / "numbers", with_config(numbers, "qwen3").version(2).build());
}

void shards_seed(const fs::path& folder) {
  Bytes all;
  for (std::uint16_t i = 0; i < kShards; ++i) {
    const Bytes one = shard(i);
    all.insert(all.end(), one.begin(), one.end());
  }
  write(folder / "three", all);
}

// Of a folder of Hugging Face.
void folder_seeds(const fs::path& folder) {
  write(folder / "safetensors_fuzz" / "small", small_safetensors());
  write(folder / "safetensors_fuzz" / "model",
        safetensors_with(R"({"model.norm.weight":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},)"
                         R"("model.layers.0.mlp.experts.gate_up_proj":{"dtype":"BF16","shape":[2,2,3],"data_offsets":[8,32]}})",
                         32));
  write(folder / "tokenizer_json_fuzz" / "bytes", std::string_view(small_bpe_json()));
  write(folder / "tokenizer_json_fuzz" / "characters", small_characters_json());
  write(folder / "hf_config_fuzz" / "llama", std::string_view(small_config()));
  write(folder / "hf_config_fuzz" / "gemma", std::string_view(small_gemma_config()));
  write(folder / "hf_config_fuzz" / "index", std::string_view(small_index()));
}

void text_seeds(const fs::path& folder) {
  const char* texts[] = {"aaab abab  00 \n\n", "<|im_start|>user\n<|im_end|><tool>",
                         "\xC3\xA9\xE2\x96\x81\xF0\x9F\x98\x80 it's IT'S 123", "\xFF\xC3\xE2\x82"};
  for (std::size_t model = 0; model < 7; ++model) {
    for (std::size_t i = 0; i < std::size(texts); ++i) {
      const std::string text = texts[i];
      std::string seed = {static_cast<char>(model), 0, static_cast<char>(text.size()), 0};
      seed += text + std::string(12, '\1') + text + text;
      write(folder / ("text" + std::to_string(model) + std::to_string(i)), seed);
    }
  }
}

void cache_type_seeds(const fs::path& folder) {
  const char* names[] = {"f16",        "k2v2",    "k3v2",
                         "k4v4",       "kl4vs2",  "kl8vf16",
                         "kjlvminmax", "paper",   "paper:sketch=gaussian,rows=128,outliers=4,outlier_rows=64",
                         "k3 v2",      "f16 f16", "l8 l4"};
  for (std::size_t i = 0; i < std::size(names); ++i) write(folder / std::to_string(i), std::string_view(names[i]));
}

void plan_seeds(const fs::path& folder) {
  write(folder / "plan", std::string_view(R"({"format": "qjl plan", "version": 1, "model": {"name": "m", "fingerprint": "0f",
    "num_layers": 2, "num_kv_heads": 3, "head_dim": 64}, "seed": 7, "sinks": 4, "budget_bits": 2.7, "bits_sealed": 2.65,
    "forecast_kld": 0.01, "texts": ["a"], "layers": [{"keys": "l16", "values": "l4"}, {"keys": "f16", "values": "s1"}]})"));
  write(folder / "costs", std::string_view(R"({"format": "qjl plan costs", "version": 1, "model": "m", "fingerprint": "0f",
    "context": 2048, "positions": 256, "texts": ["a"], "joint": 1.1, "layers": [{"key_single": 0.1, "value_single": 1e-3,
    "keys": {"s1": 1, "s2": 0.5, "l8": 0.2, "l16": 0.1}, "values": {"s1": 1, "l4": 0.5, "l8": 0.2, "l16": 0.1}}]})"));
}

void study_seeds(const fs::path& folder) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }";
  const char brief[] = {static_cast<char>(header.size()), 0};
  write(folder / "npy", std::string("\x93NUMPY\1\0", 8) + std::string(brief, 2) + header + std::string(8, '\0'));
  write(folder / "case", std::string_view(R"({"case": 1, "type": "t", "length": 5, "context": "c", "questions": [)"
                                          R"({"question": "q", "depth": 0.5, "prefix": "p", "answer": "a"}]})"));
}

void words_seeds(const fs::path& folder) {
  const char* lines[] = {"run\n-m\nm.gguf\n-p\ntext\n-ctk\nk3\n-ctv=v2\n--temp\n0.5\n--top-k\n4", "plan\n--budget\n1.5GB\n-m\nm",
                         "eval\n-m\nm\n-f\nf\n--cache\nk2v2,paper:rows=128,outliers=0,q4_0\n--json",
                         "study\nrate\n-m\nm\n--texts\nt\n-o\no\n--contexts\n1,2", "qjl3:rows=3\nsinks=2\nkivi4:seed=1\nx.json"};
  for (std::size_t i = 0; i < std::size(lines); ++i) write(folder / std::to_string(i), std::string_view(lines[i]));
}

// Two bytes that choose the endpoint, then a body.
void request_seeds(const fs::path& folder) {
  const char* bodies[] = {
      R"(00{"model":"m@k2v2","prompt":["a",[1,2]],"max_tokens":3,"n":2,"stop":["x","yz"],"logprobs":5,"echo":true,"seed":1})",
      R"(00{"prompt":[65,66],"temperature":0.5,"top_p":0.9,"top_k":4,"min_p":0.1,"logit_bias":{"65":-100},"stream":true})",
      R"(00{"prompt":"a","stream":true,"stream_options":{"include_usage":true},"stop_token_ids":[257],"qjl":{"chunk":128}})",
      R"(01{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"<|im_end|>"}]}]})",
      R"(01{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"}],"continue_final_message":true})",
      R"(01{"messages":[{"role":"user","content":"u"}],"logprobs":true,"top_logprobs":3,"max_completion_tokens":5,"tools":[],"x":1})",
      R"(00{"prompt":"a","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"integer"}}}})"};
  for (std::size_t i = 0; i < std::size(bodies); ++i) write(folder / std::to_string(i), std::string_view(bodies[i]));
}

// Two bytes that choose the walk, then a schema.
void schema_seeds(const fs::path& folder) {
  const char* schemas[] = {
      R"({"type":"object","properties":{"a":{"type":"string","maxLength":3},"b":{"enum":[1,null,"x"]}},"required":["b"]})",
      R"({"$defs":{"n":{"type":"object","properties":{"n":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}}}},"$ref":"#/$defs/n"})",
      R"({"prefixItems":[{"type":"integer","minimum":-3,"exclusiveMaximum":17}],"items":{"type":"number","maximum":0.25},"maxItems":4})",
      R"({"additionalProperties":{"pattern":"^(?:[a-z]{2,3}|\d+)\.?$"},"properties":{"ab":true},"maxProperties":3})",
      R"({"oneOf":[{"const":[{}]},{"format":"date","type":"string"}],"title":"t"})"};
  for (std::size_t i = 0; i < std::size(schemas); ++i) write(folder / std::to_string(i), std::string("01") + schemas[i]);
}

// Two bytes that choose where the first piece ends, then what a client sends.
void http_seeds(const fs::path& folder) {
  const char* requests[] = {
      "00GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /s HTTP/1.0\r\nHost: localhost\r\n\r\n",
      "05POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
      "99POST /s%41?x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      "11OPTIONS http://localhost/a HTTP/1.1\r\nHost: [::1]:8\r\nOrigin: http://x\r\nAuthorization: Bearer k\r\n\r\n"};
  for (std::size_t i = 0; i < std::size(requests); ++i) write(folder / std::to_string(i), std::string_view(requests[i]));
}

// Two bytes that choose the conversation, then a template.
void jinja_seeds(const fs::path& folder) {
  const char* templates[] = {
      "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | default('', true) | trim }}{{ eos_token }}{% endfor -%}\n",
      "{%- set ns = namespace(i=0, t=[]) %}{% for m in messages[::-1] if m.role != 'tool' recursive %}{% set ns.i = ns.i + 1 %}{{ "
      "loop.index }}"
      "{% break %}{% else %}{{ raise_exception('no') }}{% endfor %}",
      "{% set ns = namespace() %}{% for m in messages %}{% set ns.l = loop %}{% endfor %}{{ ns.l.previtem }}{{ ns.l.last }}{{ "
      "ns.l.revindex }}{{ dict(**ns.l.previtem) | tojson(indent=y) }}",
      "{% macro a(b, c=2) -%}{{ varargs }}{{ kwargs }}{{ caller(b) }}{% endmacro %}{% call(d) a(1, 2, 3, e=4) %}{{ d ~ y }}{% "
      "endcall %}",
      "{{ tools | tojson(indent=2) }}{{ '%5.1f|%-4s' % (x, y) }}{{ '{} {a}'.format(y, a=1) }}{{ y.split() | map('upper') | "
      "join(',') }}",
      "{% set a %}{{ [1, 2.5, 'b', none][1:] }}{% endset %}{% filter indent(2, true) %}{{ a }}{% endfilter %}{% raw %}{{ }}{% "
      "endraw %}{# c #}",
      "{{ {'a': 1, 2: (3,)} | dictsort | length }}{{ range(9) | batch(2) | list }}{{ messages | selectattr('role', 'eq', 'user') | "
      "list }}"
      "{{ messages | groupby('role') | first }}{{ (x // 2 ** 3 % 2 <= 1) and not y in ['b'] or x is divisibleby 3 }}",
      "{% with a = 1, b = x %}{{ a + b * -1 }}{% generation %}{{ y | e ~ y | safe }}{% endgeneration %}{% endwith %}{{ "
      "strftime_now('%d %b %Y') }}",
      "{% if x is defined and x is not none %}{{ x if y else 1 }}{% elif y is string %}\u2603{% else %}{{ loop.cycle(1, 2) }}{% "
      "endif %}",
  };
  for (std::size_t i = 0; i < std::size(templates); ++i) {
    for (const char kind : {'\0', '\3'})
      write(folder / (std::to_string(i) + (kind != 0 ? "b" : "a")), std::string{kind, '\0'} + templates[i]);
  }
}

// A byte of no zeros, then a saved cache: two sequences that share a page, an exact tensor, notes.
void cache_file_seeds(const fs::path& folder) {
  qjl::CacheConfig config;
  config.num_layers = config.num_kv_heads = 1;
  config.head_dim = 64;
  config.max_pages = 4;
  config.codec = qjl::codec_config("k2v2");
  config.codec.rope.frequency = {1.0, 0.5};
  qjl::KvCache cache(config);
  const std::vector<float> rows(static_cast<std::size_t>(130 * config.head_dim), 0.25F);
  const auto view = qjl::TensorView::contiguous(rows.data(), qjl::DType::f32, 1, 130, config.head_dim);
  const qjl::SequenceId first = cache.create();
  cache.append(first, 0, view, view);
  const qjl::SequenceId ids[] = {first, cache.fork(first)};
  const qjl::CacheFileInfo info{.model = "m",
                                .layer_types = {"full_attention"},
                                .notes = {{"a", "\"b\"\n"}},
                                .exact = {{"1.keys", qjl::DType::f32, {2}, rows.data()}}};
  fs::create_directories(folder);
  const fs::path saved = folder / "saved";
  qjl::save_cache(saved.string(), cache, ids, info);
  std::ifstream file(saved, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  write(saved, std::string(1, '\0') + bytes);
}

// Numbers from a plain generator: the targets read decisions, not a format.
void byte_seeds(const fs::path& folder, std::size_t count, std::size_t size) {
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < count; ++i) {
    std::string bytes;
    for (std::size_t at = 0; at < size; ++at) bytes += static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
    write(folder / std::to_string(i), bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_seeds FOLDER\n";
    return 2;
  }
  const fs::path folder = argv[1];
  gguf_seeds(folder / "gguf_fuzz");
  shards_seed(folder / "gguf_shards_fuzz");
  folder_seeds(folder);
  text_seeds(folder / "tokenizer_fuzz");
  cache_type_seeds(folder / "cache_type_fuzz");
  plan_seeds(folder / "plan_fuzz");
  study_seeds(folder / "study_files_fuzz");
  jinja_seeds(folder / "jinja_fuzz");
  request_seeds(folder / "request_fuzz");
  schema_seeds(folder / "schema_fuzz");
  http_seeds(folder / "http_fuzz");
  words_seeds(folder / "words_fuzz");
  cache_file_seeds(folder / "cache_file_fuzz");
  byte_seeds(folder / "page_fuzz", 8, 2000);
  byte_seeds(folder / "weights_fuzz", 8, 120);
  byte_seeds(folder / "model_keys_fuzz", 8, 120);
  byte_seeds(folder / "cache_ops_fuzz", 8, 300);
  byte_seeds(folder / "simd_targets_fuzz", 40, 400);
  return 0;
}
