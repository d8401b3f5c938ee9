// PageCodec: the verbs of the CPU back end on one page, with the checks of a door. Rows are rounded to fp16 first, as a cache does.
#include "qjl/codec.hpp"

#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "codec_tables.hpp"
#include "cpu_backend.hpp"
#include "estimator.hpp"
#include "fail.hpp"
#include "half.hpp"
#include "page_fault.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

static_assert(kTokensPerPage == layout::kPageTokens);

// Bytes at a cache line, zero at first.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t count)
      : bytes_(static_cast<std::uint8_t*>(::operator new(count, std::align_val_t{layout::kLineBytes}))) {
    std::memset(bytes_.get(), 0, count);
  }
  std::uint8_t* data() const { return bytes_.get(); }

 private:
  struct Free {
    void operator()(std::uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t{layout::kLineBytes}); }
  };
  std::unique_ptr<std::uint8_t, Free> bytes_;
};

// A checked copy of a page at a line.
struct StoredPage {
  layout::PageHead head;
  AlignedBytes body;

  StoredPage(const EncodedPage& page, const layout::PageShape& shape, std::string_view operation)
      : head{}, body(static_cast<std::size_t>(layout::body_layout(shape).bytes)) {
    const auto bytes = static_cast<std::size_t>(layout::body_layout(shape).bytes);
    require(page.head.size() == sizeof(head) && page.body.size() == bytes, operation, "found a page of ", page.head.size(), " + ",
            page.body.size(), " bytes, wanted ", sizeof(head), " + ", bytes);
    std::memcpy(&head, page.head.data(), sizeof(head));
    std::memcpy(body.data(), page.body.data(), bytes);
    const std::string fault = page_fault(head, body.data(), shape);
    require(fault.empty(), operation, fault);
  }
};

}  // namespace

std::span<const int> head_dims() { return layout::kHeadDims; }

struct PageCodec::State {
  CodecConstants constants;

  State(int head_dim, const CodecConfig& config) : constants(head_dim, config, DType::f16) {}
  const CodecTables& tables() const { return constants.tables(); }
  const layout::PageShape& shape() const { return constants.tables().shape; }

  // One head of `rows` in fp32 or fp16, checked and rounded.
  std::vector<std::uint16_t> rounded(const TensorView& rows, const RowsName& name) {
    check_shape(rows, 1, shape().head_dim, name);
    require(rows.tokens == kTokensPerPage, name.operation, name.tensor, " have ", rows.tokens, " tokens, wanted ", kTokensPerPage);
    ThreadPool alone(1);  // of this call: a codec may be used by several threads at once
    check_numbers(rows, DType::f16, name, alone);
    std::vector<std::uint16_t> out(static_cast<std::size_t>(rows.tokens * rows.dim));
    round_rows(rows, 0, 0, rows.tokens, DType::f16, out.data());
    return out;
  }
};

PageCodec::PageCodec(int head_dim, const CodecConfig& config) : state_(std::make_unique<State>(head_dim, config)) {}
PageCodec::~PageCodec() = default;

std::int64_t PageCodec::page_bytes() const { return layout::page_bytes(state_->shape()); }

EncodedPage PageCodec::encode(const TensorView& keys, const TensorView& values, int num_sinks) const {
  require(num_sinks >= 0 && num_sinks <= layout::kMaxSinks, "encode", "found num_sinks ", num_sinks, ", wanted 0 to ",
          layout::kMaxSinks);
  const std::vector<std::uint16_t> key_rows = state_->rounded(keys, {"encode", "keys"});
  const std::vector<std::uint16_t> value_rows = state_->rounded(values, {"encode", "values"});
  const Backend& verbs = cpu::backend();
  const auto body_bytes = static_cast<std::size_t>(layout::body_layout(state_->shape()).bytes);
  const AlignedBytes body(body_bytes), workspace(verbs.encode_workspace_bytes(state_->tables()));
  layout::PageHead head{};
  const std::uint16_t* rows = key_rows.data();
  const auto sinks = static_cast<std::uint8_t>(num_sinks);
  const std::uint8_t choose_outliers = 1;
  std::uint8_t* body_bytes_at = body.data();
  layout::PageHead* head_at = &head;
  const EncodeArgs args{.tables = &state_->tables(),
                        .row_dtype = DType::f16,
                        .count = 1,
                        .rows = &rows,
                        .token_stride = state_->shape().head_dim,
                        .num_sinks = &sinks,
                        .choose_outliers = &choose_outliers,
                        .bodies = &body_bytes_at,
                        .heads = &head_at,
                        .workspace = workspace.data()};
  verbs.encode_keys(args);
  rows = value_rows.data();
  verbs.encode_values(args);
  const auto *head_bytes = reinterpret_cast<const std::byte*>(&head), *page_bytes = reinterpret_cast<const std::byte*>(body.data());
  return {{head_bytes, head_bytes + sizeof(head)}, {page_bytes, page_bytes + body_bytes}};
}

std::vector<float> PageCodec::score(const TensorView& queries, const EncodedPage& page) const {
  const layout::PageShape& shape = state_->shape();
  const RowsName name{"score", "queries"};
  check_shape(queries, 1, shape.head_dim, name);
  ThreadPool alone(1);  // of this call: a codec may be used by several threads at once
  check_numbers(queries, DType::f32, name, alone);
  const StoredPage stored(page, shape, "score");
  const int rows = static_cast<int>(queries.tokens);
  const std::size_t d = static_cast<std::size_t>(shape.head_dim);
  std::vector<float> q(static_cast<std::size_t>(rows) * d),
      projected(static_cast<std::size_t>(rows) * layout::key_coordinates(shape));
  for (int row = 0; row < rows; ++row) {
    const std::uint8_t* from = row_address(queries, 0, row);
    for (std::size_t c = 0; c < d; ++c) {
      q[row * d + c] = queries.dtype == DType::f32 ? reinterpret_cast<const float*>(from)[c]
                                                   : to_float(reinterpret_cast<const std::uint16_t*>(from)[c], queries.dtype);
    }
  }
  const Backend& verbs = cpu::backend();
  const AlignedBytes workspace(verbs.attend_workspace_bytes(state_->tables()));
  const std::uint8_t* outliers = stored.body.data() + layout::body_layout(shape).outlier_idx;
  verbs.project_query({&state_->tables(), q.data(), rows, outliers, projected.data()});
  std::vector<float> by_slot(static_cast<std::size_t>(rows) * kTokensPerPage), scores(by_slot.size());
  verbs.score(
      {&state_->tables(), q.data(), projected.data(), rows, &stored.head, stored.body.data(), by_slot.data(), workspace.data()});
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::size_t row = i / kTokensPerPage * kTokensPerPage;
    scores[row + layout::token_of_slot(static_cast<int>(i - row))] = by_slot[i];
  }
  return scores;
}

std::vector<float> PageCodec::decode_keys(const EncodedPage& page) const {
  const StoredPage stored(page, state_->shape(), "decode_keys");
  const AlignedBytes workspace(cpu::backend().attend_workspace_bytes(state_->tables()));
  std::vector<float> keys(static_cast<std::size_t>(kTokensPerPage) * state_->shape().head_dim);
  cpu::backend().decode({&state_->tables(), &stored.head, stored.body.data(), keys.data(), nullptr, workspace.data()});
  return keys;
}

std::vector<float> PageCodec::decode_values(const EncodedPage& page) const {
  const StoredPage stored(page, state_->shape(), "decode_values");
  const AlignedBytes workspace(cpu::backend().attend_workspace_bytes(state_->tables()));
  std::vector<float> values(static_cast<std::size_t>(kTokensPerPage) * state_->shape().head_dim);
  cpu::backend().decode({&state_->tables(), &stored.head, stored.body.data(), nullptr, values.data(), workspace.data()});
  return values;
}

}  // namespace qjl
