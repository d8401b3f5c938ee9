# xgrammar, which holds the answers of `qjl serve` to a grammar, out of the sources of its package on PyPI: `./dev build` gets them.
# Its parser, compiler and matcher alone; its readers of other notations are left out (cmake/xgrammar_left_out.cc).
set(QJL_XGRAMMAR "" CACHE PATH "folder of the sources of xgrammar; without it `qjl serve` refuses response_format")

if(QJL_XGRAMMAR)
  file(STRINGS ${QJL_XGRAMMAR}/PKG-INFO version_line REGEX "^Version: " LIMIT_COUNT 1)
  string(REPLACE "Version: " "" QJL_XGRAMMAR_VERSION "${version_line}")
  set(sources compiled_grammar config earley_parser fsm fsm_builder grammar grammar_builder grammar_compiler grammar_functor grammar_matcher
    grammar_parser grammar_printer suffix_automata testing tokenizer_info support/logging support/recursion_guard)
  list(TRANSFORM sources PREPEND ${QJL_XGRAMMAR}/cpp/)
  list(TRANSFORM sources APPEND .cc)
  add_library(qjl_xgrammar STATIC ${sources} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/xgrammar_left_out.cc)
  # SYSTEM: its warnings are not ours.
  target_include_directories(qjl_xgrammar SYSTEM PUBLIC ${QJL_XGRAMMAR}/include ${QJL_XGRAMMAR}/3rdparty/dlpack/include
    PRIVATE ${QJL_XGRAMMAR}/cpp ${QJL_XGRAMMAR}/3rdparty/picojson)
  target_compile_definitions(qjl_xgrammar PRIVATE XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0)
  target_compile_options(qjl_xgrammar PRIVATE -w -ffile-prefix-map=${QJL_XGRAMMAR}=xgrammar)
  qjl_harden(qjl_xgrammar)
endif()
