// DLPack or the buffer protocol in (by nanobind); numpy.empty and torch.empty out.
#include "tensors.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "errors.hpp"
#include "qjl/dlpack.hpp"

namespace qjl::python {
namespace {

std::string text_of(const nb::object& object) { return nb::str(object).c_str(); }
std::string name_of_type(nb::handle object) { return text_of(object.type().attr("__name__")); }

std::string type_of(nb::handle array) { return nb::hasattr(array, "dtype") ? text_of(array.attr("dtype")) : name_of_type(array); }

DType dtype_of(const nb::dlpack::dltensor& memory, nb::handle array, const Name& name) {
  const nb::dlpack::dtype found = memory.dtype;
  if (found.lanes == 1 && found.code == kDlFloat && found.bits == 32) return DType::f32;
  if (found.lanes == 1 && found.code == kDlFloat && found.bits == 16) return DType::f16;
  if (found.lanes == 1 && found.code == kDlBfloat && found.bits == 16) return DType::bf16;
  refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " are ", type_of(array),
         ", wanted float32, float16 or bfloat16");
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

std::string text_of_shape(std::span<const std::int64_t> shape) {
  std::string text;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  return "[" + text + "]";
}
std::span<const std::int64_t> shape_of(const nb::dlpack::dltensor& memory) {
  return {memory.shape, static_cast<std::size_t>(memory.ndim)};
}

void check_rank(const nb::dlpack::dltensor& memory, int rank, const char* axes, const Name& name) {
  require(memory.ndim == rank, name.operation, name.tensor, " are ", text_of_shape(shape_of(memory)), ", wanted ", rank,
          " axes: ", axes);
}

// Fills one of the holders; what it says of the memory.
nb::dlpack::dltensor import_array(nb::handle object, Tensor& tensor, const Name& name) {
  if (is_torch(object)) {
    require(!needs_gradients(object), name.operation, name.tensor, " need gradients, wanted a tensor without: detach() gives one");
    require(!is_negative_view(object), name.operation, name.tensor,
            " are a view whose memory has the other sign (is_neg()), wanted numbers as they are: resolve_neg() gives them");
  }
  nb::dlpack::dltensor memory;
  if (show_tensor(object, memory)) {
    tensor.tensor = nb::borrow(object);
    return memory;
  }
  if (!nb::try_cast(object, tensor.array, false) || !tensor.array.is_valid()) {
    refuse(ErrorKind::invalid_argument, name.operation, name.tensor, " are of type ", name_of_type(object),
           " and show no memory, wanted a NumPy array, or a torch tensor of the host");
  }
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

namespace {

Tensor take_axes(nb::handle object, int rank, const char* axes, const Name& name) {
  Tensor tensor;
  const nb::dlpack::dltensor memory = import_array(object, tensor, name);
  check_rank(memory, rank, axes, name);
  const DType dtype = dtype_of(memory, object, name);
  const auto extent = [&](int from_last) { return from_last <= rank ? memory.shape[rank - from_last] : 1; };
  const auto stride = [&](int from_last) { return from_last <= rank ? memory.strides[rank - from_last] : 0; };
  const bool empty = std::ranges::count(shape_of(memory), 0) > 0;
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

}  // namespace

Tensor take(nb::handle object, int rank, const Name& name) {
  const char* axes = rank == 4 ? "batch, heads, tokens, channels" : rank == 3 ? "heads, tokens, channels" : "tokens, channels";
  return take_axes(object, rank, axes, name);
}

Tensor take_tokens(nb::handle object, const Name& name) {
  Tensor tensor = take_axes(object, 3, "tokens, heads, channels", name);
  std::swap(tensor.first.heads, tensor.first.tokens);
  std::swap(tensor.first.head_stride, tensor.first.token_stride);
  return tensor;
}

std::int64_t Memory::inner_numbers(std::size_t first_axis) const {
  std::int64_t numbers = 1;
  for (std::size_t axis = first_axis; axis < shape.size(); ++axis) numbers *= shape[axis];
  return numbers;
}

bool Memory::is_contiguous(std::size_t first_axis) const {
  std::int64_t wanted = 1;
  for (std::size_t axis = shape.size(); axis-- > first_axis; wanted *= shape[axis]) {
    if (shape[axis] > 1 && strides[axis] != wanted) return false;
  }
  return true;
}

std::string Memory::shape_text() const { return text_of_shape(shape); }

Memory take_memory(nb::handle object, const Name& name) {
  Memory taken;
  const nb::dlpack::dltensor memory = import_array(object, taken.holder, name);
  nb::ndarray<> writable;
  require(taken.holder.tensor.is_valid() || nb::try_cast(object, writable, false), name.operation, name.tensor,
          " are read-only, wanted memory that may be written");
  taken.shape.assign(memory.shape, memory.shape + memory.ndim);
  taken.strides.assign(memory.strides, memory.strides + memory.ndim);
  require(memory.data != nullptr || std::ranges::count(taken.shape, 0) > 0, name.operation, name.tensor,
          " have a null address (a tensor without storage), wanted memory");
  taken.data = static_cast<std::uint8_t*>(memory.data) + memory.byte_offset;
  taken.dtype = memory.dtype;
  taken.type = type_of(object);
  taken.device = device_of(memory, name);
  return taken;
}

WholeNumbers take_whole_numbers(nb::handle object, int rank, const Name& name) {
  Tensor holder;
  const nb::dlpack::dltensor memory = import_array(object, holder, name);
  check_rank(memory, rank, rank == 1 ? "requests" : "requests, blocks", name);
  const nb::dlpack::dtype type = memory.dtype;
  require(type.code == kDlInt && type.lanes == 1 && (type.bits == 32 || type.bits == 64), name.operation, name.tensor, " are ",
          type_of(object), ", wanted int32 or int64");
  require(device_of(memory, name) == Device::cpu(), name.operation, name.tensor, " lie on a GPU, wanted the host");
  WholeNumbers taken;
  taken.shape.assign(memory.shape, memory.shape + memory.ndim);
  const std::int64_t rows = rank == 2 ? memory.shape[0] : 1, columns = memory.shape[rank - 1];
  taken.numbers.reserve(static_cast<std::size_t>(rows * columns));
  const auto* data = static_cast<const std::uint8_t*>(memory.data) + memory.byte_offset;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t start = rank == 2 ? row * memory.strides[0] : 0;
    for (std::int64_t column = 0; column < columns; ++column) {
      const std::int64_t at = start + column * memory.strides[rank - 1];
      taken.numbers.push_back(type.bits == 32 ? std::int64_t{reinterpret_cast<const std::int32_t*>(data)[at]}
                                              : reinterpret_cast<const std::int64_t*>(data)[at]);
    }
  }
  return taken;
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
