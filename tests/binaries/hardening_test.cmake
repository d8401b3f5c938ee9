# Reads a linked program or library, and an archive of marked objects: what cmake/QjlHarden.cmake asks for is in them.
#
# cmake -DREADELF= -DFILE= [-DPROGRAM=ON] [-DMARKED=] -P hardening_test.cmake
execute_process(COMMAND ${READELF} --wide --file-header --program-headers --dynamic --syms ${FILE}
                OUTPUT_VARIABLE file COMMAND_ERROR_IS_FATAL ANY)
function(expect what pattern)
  if(NOT file MATCHES "${pattern}")
    message(SEND_ERROR "${FILE}: found no ${what}")
  endif()
endfunction()
expect("code that can stand anywhere" "Type: +DYN")
expect("segment that is read-only after the start" "GNU_RELRO")
expect("binding at the start" "BIND_NOW|FLAGS_1[^\n]* NOW")
expect("stack without code" "GNU_STACK[^\n]* RW ")
expect("guard of return addresses" "__stack_chk_fail")
expect("check of indices" "__glibcxx_assert_fail|__replacement_assert")

if(PROGRAM)  # the library calls no function of the C library that has a checked twin
  expect("call that is checked" "__(memcpy|memmove|memset|snprintf|vsnprintf|fprintf|printf|read|fread|strcpy|strncpy)_chk@")
endif()
if(MARKED)
  execute_process(COMMAND ${READELF} --wide --notes ${MARKED} OUTPUT_VARIABLE notes COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "File: " objects "${notes}")
  string(REGEX MATCHALL "x86 feature: IBT, SHSTK" marked "${notes}")
  list(LENGTH objects num_objects)
  list(LENGTH marked num_marked)
  if(num_objects EQUAL 0 OR NOT num_marked EQUAL num_objects)
    message(SEND_ERROR "${MARKED}: found ${num_marked} of ${num_objects} objects with marked landing places, wanted all")
  endif()
endif()
