# The engine as a CMake package: find_package(bpfsieve) gives bpfsieve::verify and include/bpfsieve/verify.h.
#
# A static library names what it is linked with, so the package finds the same Abseil, libelf and libbpf again on the
# machine that uses it. Libraries that were built from a source folder are nowhere installed; then neither is this.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(bpfsieve_engine_rooms)
foreach(room isa domain finding report program spec state transfer explore verify)
  if(TARGET bpfsieve_${room})
    list(APPEND bpfsieve_engine_rooms bpfsieve_${room})
  endif()
endforeach()

if(BPFSIEVE_ABSL_SOURCE OR BPFSIEVE_TBB_SOURCE)
  set(bpfsieve_installable OFF)
else()
  set(bpfsieve_installable ON)
endif()
option(BPFSIEVE_INSTALL "Install the engine as a CMake package" ${bpfsieve_installable})
if(NOT BPFSIEVE_INSTALL)
  return()
endif()

set(bpfsieve_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/bpfsieve)
install(TARGETS ${bpfsieve_engine_rooms} EXPORT bpfsieveTargets COMPONENT engine
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY engine/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT engine)
install(EXPORT bpfsieveTargets NAMESPACE bpfsieve:: DESTINATION ${bpfsieve_package_dir} COMPONENT engine)
configure_package_config_file(cmake/bpfsieveConfig.cmake.in ${CMAKE_BINARY_DIR}/bpfsieveConfig.cmake
  INSTALL_DESTINATION ${bpfsieve_package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/bpfsieveConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/bpfsieveConfig.cmake ${CMAKE_BINARY_DIR}/bpfsieveConfigVersion.cmake
  DESTINATION ${bpfsieve_package_dir} COMPONENT engine)
