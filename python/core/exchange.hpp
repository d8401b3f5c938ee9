// Torch tensors by the table of C functions that their type carries (`__dlpack_c_exchange_api__`, DLPack 1.2 and later; torch since
// 2.10): what __dlpack__ gives, without its way through Python, which takes longer than a short attend, and without a copy of what
// the tensor knows of itself.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <span>

namespace qjl::python {

namespace nb = nanobind;

// The class torch.Tensor, or null when torch was not imported; it is never imported here.
PyTypeObject* torch_tensor_type();

// Whether an object is a tensor of torch; whether that one records gradients, and whether its memory has the numbers with the other
// sign (`z.conj().imag`), which DLPack does not say.
bool is_torch(nb::handle object);
bool needs_gradients(nb::handle tensor);
bool is_negative_view(nb::handle tensor);

// What a tensor says of its memory; it points into the tensor. False for what is not exactly a torch.Tensor, has no such table, or
// may not be shown: ask by other ways, which say why.
bool show_tensor(nb::handle object, nb::dlpack::dltensor& memory);

// A new contiguous fp32 tensor of torch and its memory; of no object where torch has no such table.
struct NewArray {
  nb::object object;
  float* data = nullptr;
};
NewArray new_tensor(std::span<const std::int64_t> shape);

}  // namespace qjl::python
