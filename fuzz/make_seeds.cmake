# The program that writes the fuzzers' first inputs, for ./dev fuzz and for the tests: one target, whichever asks first.
include_guard(GLOBAL)
add_executable(make_seeds ${CMAKE_CURRENT_LIST_DIR}/make_seeds.cpp)
target_include_directories(make_seeds PRIVATE ${PROJECT_SOURCE_DIR}/tests/engine/files)
target_link_libraries(make_seeds PRIVATE qjl)
qjl_test_options(make_seeds)
