// multiply: shares the rows of several products out over the workers. weights.hpp has the formula and the two ways.
#include "weights.hpp"

#include <dnnl.h>

#include <algorithm>
#include <string>

#include "packed_weight.hpp"
#include "panel_bf16.hpp"
#include "qjl/error.hpp"
#include "quants.hpp"

// Of the OpenMP library that oneDNN is linked with. Its header belongs to gcc; clang's would bring another library.
extern "C" int omp_get_max_threads();
extern "C" void omp_set_num_threads(int);

namespace qjl::engine {
namespace {

// Rows of one item of work. 96 = two column tiles of oneDNN's AVX-512 kernel; a decoded panel of 1536 columns fits a second-level
// cache.
constexpr std::int64_t kPanelRows = 96;
constexpr std::int64_t kMatvecRows = 64;

// oneDNN takes its number of threads from OpenMP's setting of the calling thread: one, so that our pool alone decides.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

void multiply_panel(const Product& product, std::int64_t row_begin, std::int64_t row_end, const Activations& x,
                    std::vector<float>& panel) {
  const Weight& w = *product.weight;
  const std::int64_t rows = row_end - row_begin;
  const float* decoded = nullptr;
  if (w.type == WeightType::f32) {
    decoded = reinterpret_cast<const float*>(w.row(row_begin));
  } else {
    if (std::ssize(panel) < rows * w.columns) panel.resize(static_cast<std::size_t>(rows * w.columns));
    dequantize(w.type, w.row(row_begin), rows * w.columns, panel.data());
    decoded = panel.data();
  }
  const OneOpenMpThread single;
  const SignalsBlocked no_handler;  // oneDNN's kernel has an address of the heap in its stack pointer
  const dnnl_status_t status = dnnl_sgemm('N', 'T', x.tokens, rows, w.columns, 1.0f, x.data, x.stride, decoded, w.columns, 0.0f,
                                          product.out + row_begin, product.out_stride);
  if (status != dnnl_success) {
    throw Error(ErrorKind::unsupported, "[multiply] oneDNN sgemm returned status " + std::to_string(status) + ", wanted 0");
  }
}

}  // namespace

ProductScratch::ProductScratch() = default;
ProductScratch::~ProductScratch() = default;
ProductScratch::ProductScratch(ProductScratch&&) noexcept = default;

std::int64_t ProductScratch::bytes() const {
  auto total = quantized.capacity() * sizeof(QuantizedBlock) + rounded.capacity() * sizeof(std::uint16_t);
  for (const std::vector<float>& panel : panels) total += panel.capacity() * sizeof(float);
  return static_cast<std::int64_t>(total);
}

namespace {

enum class Way : std::uint8_t { integer, bf16_panel, matvec, fp32_panel };

// Decode rows beyond the most of a way are taken in turns; without bf16 a packed weight of a prompt goes in fp32, few rows or many.
Way choose(const Weight& weight, const Products& p) {
  const auto are_few = [&](std::int64_t most) {
    return p.rows == RowKind::decode || (p.rows == RowKind::by_count && p.x.tokens <= most);
  };
  if (p.arithmetic == Arithmetic::fast && weight.packed) {
    if (are_few(kIntegerTokens)) return Way::integer;
    if (has_bf16_products()) return Way::bf16_panel;
  }
  return are_few(kMatvecTokens) ? Way::matvec : Way::fp32_panel;
}

// Rows of one item of work: whole groups where weights are packed. A worker of an integer product gets one stretch of a matrix: it
// fetches ahead, and what it fetches should be its own.
std::int64_t item_rows(Way way, std::int64_t rows, int num_threads) {
  switch (way) {
    case Way::integer: return (rows + kGroupRows * num_threads - 1) / (kGroupRows * num_threads) * kGroupRows;
    case Way::bf16_panel: return kPanelGroups * kGroupRows;
    case Way::matvec: return kMatvecRows;
    case Way::fp32_panel: return kPanelRows;
  }
  return kPanelRows;
}

class Multiplication {
 public:
  Multiplication(const Products& products, ProductScratch& scratch, ThreadPool& threads)
      : p_(products), s_(scratch), threads_(threads) {}
  void prepare();
  void run();

 private:
  Way way(const Product& product) const { return choose(*product.weight, p_); }
  std::int64_t rows_at_a_time(const Product& product) const {
    return item_rows(way(product), product.weight->rows, threads_.num_threads());
  }
  std::int64_t items(const Product& product) const {
    const std::int64_t step = rows_at_a_time(product);
    return (product.weight->rows + step - 1) / step;
  }
  const std::byte* packed_share(const Weight* weight, std::int64_t item) const;
  void multiply_rows(const Product& product, std::int64_t item, std::vector<float>& panel) const;
  void matvec_rows(const Product& product, std::int64_t begin, std::int64_t end) const;
  void integer_rows(const Product& product, std::int64_t group_begin, std::int64_t group_end, const std::byte* next) const;

  const Products p_;  // a copy, next to the rest: what the workers read first lies together
  ProductScratch& s_;
  ThreadPool& threads_;
};

// Activations in the form that the products want, once for all of them.
void Multiplication::prepare() {
  if (std::ssize(s_.panels) < threads_.num_threads()) s_.panels.resize(static_cast<std::size_t>(threads_.num_threads()));
  const Activations& x = p_.x;
  const std::int64_t columns = p_.list.front().weight->columns;
  const auto any = [&](Way wanted) { return std::ranges::any_of(p_.list, [&](const Product& p) { return way(p) == wanted; }); };
  if (any(Way::integer)) {
    const std::int64_t blocks = columns / kBlockColumns, turns = (x.tokens + kIntegerTokens - 1) / kIntegerTokens;
    if (std::ssize(s_.quantized) < blocks * turns) s_.quantized.resize(static_cast<std::size_t>(blocks * turns));
    for (std::int64_t turn = 0; turn < turns; ++turn) {
      const std::int64_t first = turn * kIntegerTokens, tokens = std::min<std::int64_t>(kIntegerTokens, x.tokens - first);
      quantize({x.data + first * x.stride, tokens, x.stride}, columns, s_.quantized.data() + turn * blocks);
    }
  }
  if (any(Way::bf16_panel)) {
    if (std::ssize(s_.rounded) < x.tokens * columns) s_.rounded.resize(static_cast<std::size_t>(x.tokens * columns));
    threads_.run(x.tokens,
                 [&](std::int64_t t, int) { round_to_bf16(x.data + t * x.stride, columns, s_.rounded.data() + t * columns); });
  }
}

// Where item `item` of a product with packed weights begins to read.
const std::byte* Multiplication::packed_share(const Weight* weight, std::int64_t item) const {
  if (weight == nullptr || weight->packed == nullptr) return nullptr;
  const std::int64_t group = item * item_rows(Way::integer, weight->rows, threads_.num_threads()) / kGroupRows;
  return group < weight->packed->groups() ? weight->packed->codes(group) : nullptr;
}

void Multiplication::matvec_rows(const Product& product, std::int64_t begin, std::int64_t end) const {
  const Activations& x = p_.x;
  for (std::int64_t first = 0; first < x.tokens; first += kMatvecTokens) {
    const std::int64_t tokens = std::min<std::int64_t>(kMatvecTokens, x.tokens - first);
    matvec({product.weight,
            begin,
            end,
            {x.data + first * x.stride, tokens, x.stride},
            product.out + first * product.out_stride,
            product.out_stride});
  }
}

// Several turns of tokens go over a few groups at a time, so that each weight comes from memory once.
void Multiplication::integer_rows(const Product& product, std::int64_t group_begin, std::int64_t group_end,
                                  const std::byte* next) const {
  constexpr std::int64_t kGroupsPerTurn = 8;
  const PackedWeight* packed = product.weight->packed;
  const std::int64_t blocks = packed->blocks(), tokens = p_.x.tokens;
  const std::int64_t step = tokens <= kIntegerTokens ? group_end - group_begin : kGroupsPerTurn;
  for (std::int64_t begin = group_begin; begin < group_end; begin += step) {
    const std::int64_t end = std::min(begin + step, group_end);
    for (std::int64_t first = 0; first < tokens; first += kIntegerTokens) {
      packed_matvec({packed, begin, end, s_.quantized.data() + first / kIntegerTokens * blocks,
                     std::min<std::int64_t>(kIntegerTokens, tokens - first), product.out + first * product.out_stride,
                     product.out_stride, end == group_end ? next : nullptr});
    }
  }
}

void Multiplication::multiply_rows(const Product& product, std::int64_t item, std::vector<float>& panel) const {
  const Weight& w = *product.weight;
  const Way kind = way(product);
  const std::int64_t step = rows_at_a_time(product), begin = item * step, end = std::min(begin + step, w.rows);
  const std::int64_t group_begin = begin / kGroupRows, group_end = (end + kGroupRows - 1) / kGroupRows;
  switch (kind) {
    case Way::matvec: return matvec_rows(product, begin, end);
    case Way::fp32_panel: return multiply_panel(product, begin, end, p_.x, panel);
    case Way::integer: {
      const bool is_last = &product == &p_.list.back();
      const std::byte* next = packed_share(is_last ? p_.next : (&product + 1)->weight, item);
      return integer_rows(product, group_begin, group_end, next);
    }
    case Way::bf16_panel: {
      const std::int64_t pairs = kPanelGroups * kGroupRows * w.columns / 2;
      if (std::ssize(panel) < pairs) panel.resize(static_cast<std::size_t>(pairs));
      return multiply_panel_bf16({w.packed, group_begin, group_end, s_.rounded.data(), p_.x.tokens, product.out, product.out_stride,
                                  reinterpret_cast<std::uint32_t*>(panel.data())});
    }
  }
}

void Multiplication::run() {
  std::int64_t total = 0;
  for (const Product& product : p_.list) {
    const Weight& w = *product.weight;
    total += items(product);
    s_.weight_bytes +=
        p_.arithmetic == Arithmetic::fast && w.packed ? w.packed->groups() * w.packed->group_bytes() : w.rows * w.row_bytes();
  }
  const auto work = [&](std::int64_t item, int worker) {
    const Product* product = p_.list.data();
    for (; item >= items(*product); ++product) item -= items(*product);
    multiply_rows(*product, item, s_.panels[static_cast<std::size_t>(worker)]);
  };
  threads_.run(total, work);
}

}  // namespace

void multiply(const Products& products, ProductScratch& scratch, ThreadPool& threads) {
  Multiplication multiplication(products, scratch, threads);
  multiplication.prepare();
  multiplication.run();
}

}  // namespace qjl::engine
