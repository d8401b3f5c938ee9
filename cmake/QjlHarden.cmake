# What makes a fault in code that reads others' bytes a clean end instead of a hole. qjl_harden(target), for all that is installed
# but kernels:
#
# _GLIBCXX_ASSERTIONS         indices and iterators of the standard library are checked; the layout of its types stays the same
# _FORTIFY_SOURCE=3           copies of the C library are checked against what is known of the buffer's size
# -fstack-protector-strong    a word before the return address of functions with arrays
# -fcf-protection             x86: landing places of indirect jumps are marked (a program bears the mark where all its parts do, the
#                             system's start files too)
#
# For every program: -pie, -z relro, -z now: addresses are drawn at each start, the dynamic linker's tables are read-only after it.
#
# Sanitizers check copies themselves, and do not see those that _FORTIFY_SOURCE renames. tests/binaries/hardening_test.cmake reads what
# was built.
include(CheckPIESupported)
check_pie_supported()
add_link_options(LINKER:-z,relro,-z,now)

function(qjl_harden target)
  target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
  target_compile_options(${target} PRIVATE -fstack-protector-strong)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    target_compile_options(${target} PRIVATE -fcf-protection)
  endif()
  if(NOT QJL_SANITIZE)  # some compilers define it themselves
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3>)
  endif()
endfunction()
