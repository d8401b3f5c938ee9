# The CUDA back end: QJL_CUDA=AUTO takes it when nvcc is found, ON demands it, OFF leaves it out. Sets QJL_WITH_CUDA.
#
# CMAKE_CUDA_ARCHITECTURES, unless given: the GPUs of this machine, or without a driver one PTX that the driver of any later card
# from sm_80 on compiles when the library is first used. The preset `cuda` compiles for every architecture.
set(QJL_CUDA AUTO CACHE STRING "the CUDA back end: AUTO, ON or OFF")
set_property(CACHE QJL_CUDA PROPERTY STRINGS AUTO ON OFF)
set(QJL_WITH_CUDA OFF)

if(NOT QJL_CUDA STREQUAL OFF AND NOT CMAKE_CROSSCOMPILING AND NOT QJL_SANITIZE)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    if(EXISTS /proc/driver/nvidia/version)
      set(CMAKE_CUDA_ARCHITECTURES native)
    else()
      set(CMAKE_CUDA_ARCHITECTURES 80-virtual)
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc 12 and later have it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit REQUIRED)
    set(QJL_WITH_CUDA ON)
  endif()
endif()
if(QJL_CUDA STREQUAL ON AND NOT QJL_WITH_CUDA)
  message(FATAL_ERROR "QJL_CUDA=ON: found no nvcc for this build (crossed and sanitized builds have none), wanted CUDA 13")
endif()

# -Wno-restrict: as in qjl_options. --expt-relaxed-constexpr: kernels call the constexpr functions of src/shared. -Wpedantic would complain of nvcc's own lines.
function(qjl_cuda_options target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra,-Wshadow,-Werror=switch,-Wno-restrict,-ffp-contract=off>
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -ffp-contract=off>)
  if(QJL_WERROR)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings> $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
endfunction()
