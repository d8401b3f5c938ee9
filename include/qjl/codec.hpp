// PageCodec: one page of one kv head, by itself, as KvCache codes it. Its functions may be called by several threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "qjl/config.hpp"
#include "qjl/tensor.hpp"

namespace qjl {

inline constexpr int kTokensPerPage = 128;

// The widths of heads that codecs are made for, ascending. A narrower head fits with zeros behind its numbers. On the host keys and
// values that both stay exact (f16) may have any multiple of 16 from 32 to 512.
std::span<const int> head_dims();
// Whether both codes take this width. Codes of strings (t2, t2w, t3, t4, l32, l64) come in whole words and lines: of values they
// want a multiple of 64, of keys one of 16, t3 and l32 one of 32; all other codes take every width of head_dims().
bool takes_width(const CodecConfig& config, int head_dim);

struct EncodedPage {
  std::vector<std::byte> head;
  std::vector<std::byte> body;
};

class PageCodec {
 public:
  // Builds frames and sketches from config.seed. Errors: invalid_argument on head_dim or config.
  PageCodec(int head_dim, const CodecConfig& config);
  ~PageCodec();

  // Bytes of a page, head included; bits = page_bytes * 8 / (2 * 128 * head_dim).
  std::int64_t page_bytes() const;

  // Codes keys and values [1, 128, head_dim]; the first num_sinks tokens are left out (their codes are zero).
  EncodedPage encode(const TensorView& keys, const TensorView& values, int num_sinks = 0) const;

  // Estimates <q, k_t> for queries [1, n, head_dim] and all tokens t of the page, in token order: [n, 128].
  std::vector<float> score(const TensorView& queries, const EncodedPage& page) const;

  // The numbers that the page stands for, in token order: [128, head_dim]. Sinks read as the page mean (keys) and 0 (values).
  std::vector<float> decode_keys(const EncodedPage& page) const;
  std::vector<float> decode_values(const EncodedPage& page) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl
