// Any bytes as a sealed page of any codec: scored and decoded, or refused with invalid_argument. What comes out may be any number,
// also none; it comes from inside the page.
#include <cmath>
#include <map>

#include "fuzz_input.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"

using qjl_fuzz::FuzzInput;
using qjl_fuzz::require;

namespace {

constexpr const char* kTypes[] = {"k1v1",   "k2v2", "k3v3",  "k4v4",
                                  "kl4vs2", "f16",  "paper", "paper:rows=128,outliers=4,outlier_rows=64"};
constexpr int kDims[] = {64, 80, 96, 128, 256};

// A codec makes its frames in milliseconds: each one once.
struct Subject {
  qjl::PageCodec codec;
  qjl::EncodedPage page;  // well formed, of zeros

  Subject(const char* type, int dim) : codec(dim, qjl::codec_config(type)) {
    const std::vector<float> zeros(static_cast<std::size_t>(qjl::kTokensPerPage * dim));
    const auto view = qjl::TensorView::contiguous(zeros.data(), qjl::DType::f32, 1, qjl::kTokensPerPage, dim);
    page = codec.encode(view, view);
  }
};

// Null where a codec has no such head_dim.
const Subject* subject(std::size_t type, std::size_t dim) {
  static std::map<std::pair<std::size_t, std::size_t>, std::unique_ptr<Subject>> known;
  auto [entry, is_new] = known.try_emplace({type, dim});
  try {
    if (is_new) entry->second = std::make_unique<Subject>(kTypes[type], kDims[dim]);
  } catch (const qjl::Error&) {
  }
  return entry->second.get();
}

// Writes the input over the bytes, again and again; stops after one round when it is told to leave the rest as it was.
void overwrite(std::vector<std::byte>& bytes, const std::string& pattern, bool once) {
  for (std::size_t i = 0; i < bytes.size() && !pattern.empty() && !(once && i == pattern.size()); ++i)
    bytes[i] = static_cast<std::byte>(pattern[i % pattern.size()]);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input(data, size);
  const std::size_t type = input.below(std::size(kTypes)), dim = input.below(std::size(kDims));
  const Subject* made = subject(type, dim);
  if (made == nullptr) return 0;
  qjl::EncodedPage page = made->page;
  const bool once = input.below(2) == 0;
  overwrite(page.head, input.text(input.below(2 * page.head.size())), true);
  overwrite(page.body, input.rest(), once);
  const std::vector<float> query(static_cast<std::size_t>(kDims[dim]), 0.5f);
  try {
    const auto keys = made->codec.decode_keys(page), values = made->codec.decode_values(page);
    require(keys.size() == values.size() && keys.size() == query.size() * qjl::kTokensPerPage, "a page of numbers");
    const auto view = qjl::TensorView::contiguous(query.data(), qjl::DType::f32, 1, 1, kDims[dim]);
    require(made->codec.score(view, page).size() == qjl::kTokensPerPage, "a score a token");
  } catch (const qjl::Error& error) {
    require(error.kind() == qjl::ErrorKind::invalid_argument, "a bad page is an invalid argument");
  }
  return 0;
}
