# find_package(qjl) gives qjl::qjl: one archive and the headers of include/qjl, which need the standard library alone
# (and CUDA's static run time, where the build had it).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(qjl_doors PROPERTIES EXPORT_NAME doors)
install(TARGETS qjl qjl_doors EXPORT qjl_targets)
if(TARGET qjl_c)
  install(TARGETS qjl_c)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/qjl DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT qjl_targets NAMESPACE qjl:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qjl)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/qjlConfigVersion.cmake COMPATIBILITY SameMinorVersion)
configure_file(${CMAKE_CURRENT_LIST_DIR}/qjlConfig.cmake.in ${PROJECT_BINARY_DIR}/qjlConfig.cmake @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/qjlConfig.cmake ${PROJECT_BINARY_DIR}/qjlConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qjl)
