// DLPack or the buffer protocol in (by nanobind); numpy.empty and torch.empty out.
#include "tensors.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <string>

#include "errors.hpp"
#include "qjl/dlpack.hpp"

namespace qjl::python {
namespace {

std::string text_of(const nb::object& object) { return nb::str(object).c_str(); }
std::string name_of_type(nb::handle object) { return text_of(object.type().attr("__name__")); }

DType dtype_of(const nb::dlpack::dltensor& memory, nb::handle array, const Name& name) {
  const nb::dlpack::dtype found = memory.dtype;
  if (found.lanes == 1 && found.code == kDlFloat && found.bits == 32) return DType::f32;
  if (found.lanes == 1 && found.code == kDlFloat && found.bits == 16) return DType::f16;
  if (found.lanes == 1 && found.code == kDlBfloat && found.bits == 16) return DType::bf16;
  const std::string text = nb::hasattr(array, "dtype") ? text_of(array.attr("dtype")) : name_of_type(array);
  refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " are ", text, ", wanted float32, float16 or bfloat16");
}

Device device_of(const nb::dlpack::dltensor& memory, const Name& name) {
  const int place = memory.device.device_type;
  if (place == kDlCpu || place == kDlCudaHost) return Device::cpu();
  require(place == kDlCuda || place == kDlCudaManaged, name.operation, name.tensor, " lie on a device of DLPack's type ", place,
          ", wanted the host");
  return Device::cuda(memory.device.device_id);
}

void check_strides(const nb::dlpack::dltensor& memory, const Name& name) {
  const int last = memory.ndim - 1;
  require(memory.strides[last] == 1 || memory.shape[last] <= 1, name.operation, name.tensor, " have channels ",
          memory.strides[last], " numbers apart, wanted contiguous ones");
  for (int axis = 0; axis < last; ++axis) {
    require(memory.strides[axis] >= 0 || memory.shape[axis] <= 1, name.operation, name.tensor, " go backwards in axis ", axis,
            " (stride ", memory.strides[axis], "), wanted strides of 0 or more");
  }
}

[[noreturn]] void refuse_rank(const nb::dlpack::dltensor& memory, int rank, const Name& name) {
  std::string shape;
  for (int axis = 0; axis < memory.ndim; ++axis) shape += (axis > 0 ? ", " : "") + std::to_string(memory.shape[axis]);
  refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " are [", shape, "], wanted ", rank, " axes: ",
         rank == 4   ? "batch, heads, tokens, channels"
         : rank == 3 ? "heads, tokens, channels"
                     : "tokens, channels");
}

// Fills one of the holders; what it says of the memory.
nb::dlpack::dltensor import_array(nb::handle object, Tensor& tensor, const Name& name) {
  if (is_torch(object) && needs_gradients(object)) {
    refuse(ErrorKind::invalid_argument, name.operation, name.tensor,
           " need gradients, wanted a tensor without: detach() gives one");
  }
  tensor.managed = export_tensor(object);
  if (tensor.managed && (tensor.managed->tensor.strides != nullptr || tensor.managed->tensor.ndim == 0)) {
    return tensor.managed->tensor;
  }
  if (!nb::try_cast(object, tensor.array, false) || !tensor.array.is_valid()) {
    refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " are of type ", name_of_type(object),
           " and show no memory, wanted a NumPy array, or a torch tensor of the host");
  }
  nb::dlpack::dltensor memory;
  memory.data = tensor.array.data_handle();
  memory.byte_offset = tensor.array.byte_offset();
  memory.device = {tensor.array.device_type(), tensor.array.device_id()};
  memory.ndim = static_cast<std::int32_t>(tensor.array.ndim());
  memory.dtype = tensor.array.dtype();
  memory.shape = const_cast<std::int64_t*>(tensor.array.shape_ptr());
  memory.strides = const_cast<std::int64_t*>(tensor.array.stride_ptr());
  return memory;
}

}  // namespace

TensorView Tensor::row(std::int64_t i) const {
  TensorView view = first;
  view.data = static_cast<const std::uint8_t*>(first.data) + i * batch_stride * dtype_bytes(first.dtype);
  return view;
}

Tensor take(nb::handle object, int rank, const Name& name) {
  Tensor tensor;
  const nb::dlpack::dltensor memory = import_array(object, tensor, name);
  if (memory.ndim != rank) refuse_rank(memory, rank, name);
  const DType dtype = dtype_of(memory, object, name);
  const auto extent = [&](int from_last) { return from_last <= rank ? memory.shape[rank - from_last] : 1; };
  const auto stride = [&](int from_last) { return from_last <= rank ? memory.strides[rank - from_last] : 0; };
  const bool empty = std::ranges::count(std::span(memory.shape, static_cast<std::size_t>(rank)), 0) > 0;
  require(memory.data != nullptr || empty, name.operation, name.tensor,
          " have a null address (a tensor without storage), wanted memory");
  if (!empty) check_strides(memory, name);
  tensor.batch = extent(4);
  tensor.batch_stride = stride(4);
  tensor.first = {static_cast<const std::uint8_t*>(memory.data) + memory.byte_offset,
                  dtype,
                  extent(3),
                  extent(2),
                  extent(1),
                  stride(3),
                  stride(2),
                  device_of(memory, name)};
  return tensor;
}

FlatArray take_flat(nb::handle object, const Name& name) {
  FlatArray flat;
  const nb::dlpack::dltensor memory = import_array(object, flat.holder, name);
  flat.dtype = dtype_of(memory, object, name);
  flat.shape.assign(memory.shape, memory.shape + memory.ndim);
  require(device_of(memory, name) == Device::cpu(), name.operation, name.tensor, " lie on a GPU, wanted the host");
  std::int64_t wanted = 1;
  for (int axis = memory.ndim - 1; axis >= 0; --axis) {
    require(memory.strides[axis] == wanted || memory.shape[axis] <= 1, name.operation, name.tensor, " have the stride ",
            memory.strides[axis], " in axis ", axis, ", wanted ", wanted, ": a contiguous array");
    wanted *= memory.shape[axis];
  }
  require(memory.data != nullptr || wanted == 0, name.operation, name.tensor,
          " have a null address (a tensor without storage), wanted memory");
  flat.data = static_cast<const std::uint8_t*>(memory.data) + memory.byte_offset;
  return flat;
}

namespace {

// What new_array calls, found once and kept: modules of extensions are not unloaded.
struct Maker {
  nb::object empty, keywords;
};

const Maker& numpy_maker() {
  static const Maker* maker = [] {
    const nb::module_ numpy = nb::module_::import_("numpy");
    nb::dict keywords;
    keywords["dtype"] = numpy.attr("float32");
    return new Maker{numpy.attr("empty"), keywords};
  }();
  return *maker;
}

const Maker& torch_maker() {
  static const Maker* maker = [] {
    const nb::module_ torch = nb::module_::import_("torch");
    nb::dict keywords;
    keywords["dtype"] = torch.attr("float32");
    keywords["device"] = torch.attr("device")("cpu");
    return new Maker{torch.attr("empty"), keywords};
  }();
  return *maker;
}

}  // namespace

NewArray new_array(std::span<const std::int64_t> shape, bool of_torch) {
  if (of_torch) {
    if (NewArray tensor = new_tensor(shape); tensor.data != nullptr) return tensor;  // else it is of an older torch, or empty
  }
  nb::list extents;
  for (const std::int64_t extent : shape) extents.append(extent);
  const Maker& maker = of_torch ? torch_maker() : numpy_maker();
  const nb::tuple arguments = nb::make_tuple(nb::tuple(extents));
  nb::object made = nb::steal(PyObject_Call(maker.empty.ptr(), arguments.ptr(), maker.keywords.ptr()));
  if (!made.is_valid()) throw nb::python_error();
  if (of_torch) return {made, reinterpret_cast<float*>(nb::cast<std::uintptr_t>(made.attr("data_ptr")()))};
  auto memory = nb::cast<nb::ndarray<float>>(made);
  return {made, memory.data()};
}

std::vector<std::int64_t> whole_numbers(nb::handle list, const Name& name) {
  const nb::object fast = nb::steal(PySequence_Fast(list.ptr(), ""));
  PyErr_Clear();
  if (!fast.is_valid() || PyUnicode_Check(list.ptr()) || PyBytes_Check(list.ptr())) {
    refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " are of type ", name_of_type(list),
           ", wanted a list of whole numbers");
  }
  std::vector<std::int64_t> numbers;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.ptr()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(fast.ptr(), i);
    const nb::object index = nb::steal(PyNumber_Index(item));
    numbers.push_back(index.is_valid() ? PyLong_AsLongLong(index.ptr()) : 0);
    if (PyErr_Occurred() == nullptr) continue;
    PyErr_Clear();
    refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " hold ", nb::cast<std::string>(nb::repr(item)),
           ", wanted whole numbers");
  }
  return numbers;
}

}  // namespace qjl::python
