// multiply: shares the rows of several products out over the workers. weights.hpp has the formula and the two ways.
#include "weights.hpp"

#include <dnnl.h>

#include <algorithm>
#include <string>

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
  const dnnl_status_t status = dnnl_sgemm('N', 'T', x.tokens, rows, w.columns, 1.0f, x.data, x.stride, decoded, w.columns, 0.0f,
                                          product.out + row_begin, product.out_stride);
  if (status != dnnl_success) {
    throw Error(ErrorKind::unsupported, "[multiply] oneDNN sgemm returned status " + std::to_string(status) + ", wanted 0");
  }
}

}  // namespace

void Weight::decode_row(std::int64_t r, float* out) const { dequantize(type, row(r), columns, out); }

std::int64_t ProductScratch::bytes() const {
  std::int64_t total = 0;
  for (const std::vector<float>& panel : panels) total += static_cast<std::int64_t>(panel.capacity() * sizeof(float));
  return total;
}

void multiply(std::span<const Product> products, const Activations& x, ProductScratch& scratch, ThreadPool& threads) {
  const bool is_matvec = x.tokens <= kMatvecTokens;
  const std::int64_t step = is_matvec ? kMatvecRows : kPanelRows;
  std::int64_t items = 0;
  for (const Product& product : products) items += (product.weight->rows + step - 1) / step;
  if (std::ssize(scratch.panels) < threads.num_threads()) scratch.panels.resize(static_cast<std::size_t>(threads.num_threads()));

  auto work = [&](std::int64_t item, int worker) {
    const Product* product = products.data();
    for (; item >= (product->weight->rows + step - 1) / step; ++product) item -= (product->weight->rows + step - 1) / step;
    const std::int64_t begin = item * step, end = std::min(begin + step, product->weight->rows);
    if (is_matvec) {
      matvec({product->weight, begin, end, x, product->out, product->out_stride});
    } else {
      multiply_panel(*product, begin, end, x, scratch.panels[static_cast<std::size_t>(worker)]);
    }
  };
  threads.run(items, work);
}

}  // namespace qjl::engine
