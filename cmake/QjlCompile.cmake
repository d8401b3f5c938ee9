# One place for compiler flags. Each gives a target the project's warnings and floating point rules:
#
# qjl_options(target)          and hardening: what is installed, but for
# qjl_kernel_options(target)   what computes; its arguments are checked where they come in
# qjl_test_options(target)     tests, benchmarks and tools of the project
#
# -ffp-contract=off: the encoders promise the same bytes on every instruction set, so no multiply and add may fuse by itself;
# kernels that want a fused one say so.
option(QJL_WERROR "warnings are errors" OFF)
set(QJL_SANITIZE "" CACHE STRING "sanitizers, as for -fsanitize=")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
include(QjlReproducible)
include(QjlHarden)
if(QJL_SANITIZE)
  add_compile_options(-fsanitize=${QJL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${QJL_SANITIZE})
endif()

# -Werror=switch: a switch over an enum that forgets a case does not compile (none has a default: tools/check_house.py).
# -Wno-restrict: gcc 12 warns falsely of overlap in std::string concatenation (gcc bug 105651).
function(qjl_test_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Werror=switch -ffp-contract=off $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  if(QJL_WERROR)  # gcc 12 warns falsely of vectors in aggregates with named initializers, as it does in its own headers below
    target_compile_options(${target} PRIVATE -Werror $<$<CXX_COMPILER_ID:GNU>:-Wno-error=maybe-uninitialized>)
  endif()
endfunction()
function(qjl_options target)
  qjl_test_options(${target})
  qjl_harden(${target})
endfunction()

# For files with target regions: gcc 12 warns falsely of uninitialised values inside its AVX-512 headers, and of vector arguments
# whose calling convention differs between targets (a function and its callers are always of one target).
function(qjl_kernel_options target)
  qjl_test_options(${target})
  # With sanitizers -O1: every vector operation is inlined, and checked code of that size takes minutes at -O3.
  set(level -O3)
  if(QJL_SANITIZE)
    set(level -O1)
  endif()
  target_compile_options(${target} PRIVATE ${level} -Wno-psabi
    $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized -Wno-maybe-uninitialized>)
endfunction()
