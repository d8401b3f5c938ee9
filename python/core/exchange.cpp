// The table is looked up once: it lives as long as the process, like the class that carries it.
#include "exchange.hpp"

namespace qjl::python {
namespace {

// DLPack's DLPackExchangeAPI, as far as it is used here.
struct ExchangeTable {
  std::uint32_t major, minor;
  const ExchangeTable* older;
  void* allocator;
  int (*export_tensor)(void* object, ManagedTensor** out);
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

bool needs_gradients(nb::handle object) {
  const nb::object answer = nb::steal(PyObject_GetAttrString(object.ptr(), "requires_grad"));
  PyErr_Clear();
  return answer.ptr() != Py_False;
}

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

Managed export_tensor(nb::handle object) {
  PyTypeObject* type = torch_tensor_type();
  if (type == nullptr || Py_TYPE(object.ptr()) != type) return nullptr;
  static const ExchangeTable* table = find_table(type);
  if (table == nullptr || needs_gradients(object)) return nullptr;
  ManagedTensor* managed = nullptr;
  if (table->export_tensor(object.ptr(), &managed) != 0) {
    PyErr_Clear();
    return nullptr;
  }
  return Managed(managed);
}

}  // namespace qjl::python
