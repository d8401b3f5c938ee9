# Copies the sources into two folders, builds the same targets in both without ccache, and compares what was built, byte by byte. A static
# library is built without those that it uses.
#
# cmake -DSOURCE= -DSCRATCH= -DC= -DCXX= -DTYPE= [-DXGRAMMAR=] -DTARGETS=name;name -DFILES=pattern;pattern -P same_bytes.cmake
set(ENV{CCACHE_DISABLE} 1)
file(REMOVE_RECURSE ${SCRATCH})

function(run)  # what it says is shown when it fails
  execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${said}\n${ARGN} ended with ${status}")
  endif()
endfunction()

set(folders ${SCRATCH}/a ${SCRATCH}/another)
foreach(folder ${folders})
  foreach(name CMakeLists.txt cmake include src engine server study cli)
    file(COPY ${SOURCE}/${name} DESTINATION ${folder})
  endforeach()
  run(${CMAKE_COMMAND} -S ${folder} -B ${folder}/build -G Ninja -DCMAKE_BUILD_TYPE=${TYPE} -DCMAKE_C_COMPILER=${C}
      -DCMAKE_CXX_COMPILER=${CXX} -DQJL_XGRAMMAR=${XGRAMMAR} -DQJL_CUDA=OFF -DQJL_BUILD_TESTS=OFF -DQJL_BUILD_BENCH=OFF -DCMAKE_OPTIMIZE_DEPENDENCIES=ON
      --log-level=WARNING)
  run(${CMAKE_COMMAND} --build ${folder}/build --target ${TARGETS})
endforeach()

list(GET folders 0 first)
list(GET folders 1 second)
set(count 0)
foreach(pattern ${FILES})
  file(GLOB_RECURSE found RELATIVE ${first}/build ${first}/build/${pattern})
  foreach(name ${found})
    execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${first}/build/${name} ${second}/build/${name} RESULT_VARIABLE differs)
    if(differs)
      message(SEND_ERROR "${name} differs between ${first}/build and ${second}/build")
    endif()
    math(EXPR count "${count} + 1")
  endforeach()
endforeach()
if(count EQUAL 0)
  message(FATAL_ERROR "found no file of ${FILES} in ${first}/build")
endif()
message(STATUS "${count} files are the same")
