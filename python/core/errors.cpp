// The package's exceptions are classes of Python, looked up when the first one is thrown.
#include "errors.hpp"

#include <nanobind/nanobind.h>

namespace qjl::python {
namespace {

namespace nb = nanobind;

const char* class_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument: return "InvalidArgument";
    case ErrorKind::out_of_pages: return "OutOfPages";
    case ErrorKind::bad_file: return "BadFile";
    case ErrorKind::io: return "FileError";
    case ErrorKind::unsupported: return "Unsupported";
  }
  return "QjlError";
}

void translate(const std::exception_ptr& exception, void*) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    const nb::object type = nb::module_::import_("qjl.errors").attr(class_name(error.kind()));
    PyErr_SetString(type.ptr(), error.what());
  }
}

}  // namespace

void translate_errors() { nb::register_exception_translator(translate); }

}  // namespace qjl::python
