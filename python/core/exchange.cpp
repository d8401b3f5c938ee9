// The table is looked up once: it lives as long as the process, like the class that carries it.
#include "exchange.hpp"

#include <new>

namespace qjl::python {
namespace {

// DLPack's DLManagedTensorVersioned and DLPackExchangeAPI, as far as they are used here.
struct ManagedTensor {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedTensor*);
  std::uint64_t flags;
  nb::dlpack::dltensor tensor;
};
struct ExchangeTable {
  std::uint32_t major, minor;
  const ExchangeTable* older;
  int (*allocate)(nb::dlpack::dltensor* prototype, ManagedTensor** out, void* context,
                  void (*set_error)(void* context, const char* kind, const char* message));
  int (*export_tensor)(void* object, ManagedTensor** out);
  int (*import_tensor)(ManagedTensor* tensor, void** object);
  int (*show_tensor)(void* object, nb::dlpack::dltensor* out);  // may be null
};
constexpr std::uint32_t kMajor = 1;

const ExchangeTable* find_table(PyTypeObject* type) {
  const nb::object capsule = nb::steal(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__"));
  void* found = capsule.is_valid() ? PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api") : nullptr;
  PyErr_Clear();  // an older torch
  const auto* table = static_cast<const ExchangeTable*>(found);
  while (table != nullptr && table->major != kMajor) table = table->older;
  return table;
}

const ExchangeTable* table() {
  static const ExchangeTable* found = nullptr;
  if (found == nullptr && torch_tensor_type() != nullptr) found = find_table(torch_tensor_type());
  return found;
}

void ignore_error(void*, const char*, const char*) {}

}  // namespace

PyTypeObject* torch_tensor_type() {
  static PyTypeObject* type = nullptr;
  if (type != nullptr) return type;
  PyObject* torch = PyDict_GetItemString(PyImport_GetModuleDict(), "torch");  // borrowed
  if (torch == nullptr) return nullptr;
  // Absent while torch is being imported. A reference is kept for good.
  PyObject* found = PyObject_GetAttrString(torch, "Tensor");
  PyErr_Clear();
  if (found != nullptr && PyType_Check(found)) type = reinterpret_cast<PyTypeObject*>(found);
  return type;
}

bool is_torch(nb::handle object) {
  PyTypeObject* type = torch_tensor_type();
  return type != nullptr && PyObject_TypeCheck(object.ptr(), type);
}

bool needs_gradients(nb::handle tensor) {
  static PyObject* const name = PyUnicode_InternFromString("requires_grad");
  const nb::object answer = nb::steal(PyObject_GetAttr(tensor.ptr(), name));
  PyErr_Clear();
  return answer.ptr() != Py_False;
}

bool is_negative_view(nb::handle tensor) {
  static PyObject* const name = PyUnicode_InternFromString("is_neg");
  const nb::object answer = nb::steal(PyObject_CallMethodNoArgs(tensor.ptr(), name));
  PyErr_Clear();
  return answer.ptr() != Py_False;
}

bool show_tensor(nb::handle object, nb::dlpack::dltensor& memory) {
  const ExchangeTable* torch = table();
  if (torch == nullptr || torch->show_tensor == nullptr || Py_TYPE(object.ptr()) != torch_tensor_type()) return false;
  if (torch->show_tensor(object.ptr(), &memory) == 0) return memory.strides != nullptr || memory.ndim == 0;
  PyErr_Clear();
  return false;
}

NewArray new_tensor(std::span<const std::int64_t> shape) {
  const ExchangeTable* torch = table();
  if (torch == nullptr) return {};
  nb::dlpack::dltensor prototype;
  prototype.device = {nb::device::cpu::value, 0};
  prototype.ndim = static_cast<std::int32_t>(shape.size());
  prototype.dtype = nb::dtype<float>();
  prototype.shape = const_cast<std::int64_t*>(shape.data());
  ManagedTensor* managed = nullptr;
  if (torch->allocate(&prototype, &managed, nullptr, ignore_error) != 0) throw std::bad_alloc();
  float* data = reinterpret_cast<float*>(static_cast<std::uint8_t*>(managed->tensor.data) + managed->tensor.byte_offset);
  void* object = nullptr;
  if (torch->import_tensor(managed, &object) != 0) throw nb::python_error();
  return {nb::steal(static_cast<PyObject*>(object)), data};
}

}  // namespace qjl::python
