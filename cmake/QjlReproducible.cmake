# The same sources and tools give the same bytes, whatever folder they stand in (tests/binaries/same_bytes.cmake): no name of a folder in
# a binary, no times in archives.
#
# Names of folders come by debug information and by assertions: a release has neither.
add_compile_options($<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<NOT:$<CONFIG:Release,MinSizeRel>>>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.>
                    $<$<AND:$<COMPILE_LANGUAGE:C,CXX>,$<NOT:$<CONFIG:Release,MinSizeRel>>>:-ffile-prefix-map=${PROJECT_BINARY_DIR}=build>)
set(CMAKE_BUILD_RPATH_USE_ORIGIN ON)
foreach(language C CXX CUDA)
  set(CMAKE_${language}_ARCHIVE_CREATE "<CMAKE_AR> qcD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_APPEND "<CMAKE_AR> qD <TARGET> <LINK_FLAGS> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "<CMAKE_RANLIB> -D <TARGET>")
endforeach()
