# Each dependency comes from the system, or from a source folder: -DBPFSIEVE_<NAME>_SOURCE=/path (ABSL, TBB, GTEST,
# BENCHMARK, CLI11, JSON), built with the project's own flags. OSS-Fuzz needs the latter.
option(BPFSIEVE_TESTS "Build the tests" ON)
option(BPFSIEVE_WERROR "Warnings are errors" OFF)
set(BPFSIEVE_SANITIZE "" CACHE STRING "Sanitizers: address,undefined or thread or memory; empty: none")
set(BPFSIEVE_COVERAGE OFF CACHE BOOL "Instrument for source coverage")
set(BPFSIEVE_PROFILE "" CACHE STRING "What runs teach GCC about what runs often: generate, then use, in one folder (scripts/build-profiled); empty: nothing")

add_library(bpfsieve_warnings INTERFACE)
target_compile_options(bpfsieve_warnings INTERFACE -Wall -Wextra -Wno-missing-field-initializers
  $<$<BOOL:${BPFSIEVE_WERROR}>:-Werror>)

# GCC copies and clears structures of a few hundred bytes by string instructions, which take as long to begin as it takes
# to move a whole register file of ours; the C library knows the processor.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_compile_options(-mmemcpy-strategy=unrolled_loop:256:noalign,libcall:-1:noalign
    -mmemset-strategy=vector_loop:192:noalign,libcall:-1:noalign)
endif()

# Nobody puts functions of their own in the place of ours: GCC may inline them, though the code can be loaded anywhere.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_compile_options(-fno-semantic-interposition)
endif()

# What is left of shared libraries is bound at the start.
if(UNIX AND NOT APPLE)
  add_link_options(-Wl,-z,now)
endif()

if(BPFSIEVE_SANITIZE)
  add_compile_options(-fsanitize=${BPFSIEVE_SANITIZE} -fno-omit-frame-pointer -gline-tables-only)
  if(BPFSIEVE_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  add_link_options(-fsanitize=${BPFSIEVE_SANITIZE})
endif()
if(BPFSIEVE_PROFILE)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL GNU OR NOT BPFSIEVE_PROFILE MATCHES "^(generate|use)$")
    message(FATAL_ERROR "BPFSIEVE_PROFILE is generate or use, and takes GCC")
  endif()
  # Code that the runs do not come to is compiled as without them.
  add_compile_options(-fprofile-${BPFSIEVE_PROFILE} -fprofile-update=atomic -fprofile-partial-training -Wno-missing-profile)
  add_link_options(-fprofile-${BPFSIEVE_PROFILE})
endif()
if(BPFSIEVE_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()

# bpfsieve_dependency(NAME package): a source folder if given, the system's package otherwise.
macro(bpfsieve_dependency name package)
  set(BPFSIEVE_${name}_SOURCE "" CACHE PATH "Source folder of ${package}; empty: the system's")
  if(BPFSIEVE_${name}_SOURCE)
    add_subdirectory(${BPFSIEVE_${name}_SOURCE} ${CMAKE_BINARY_DIR}/deps/${name} EXCLUDE_FROM_ALL SYSTEM)
  else()
    find_package(${package} REQUIRED)
  endif()
endmacro()

# What the source folders would otherwise add: their own tests, installation, and warnings as errors.
set(ABSL_PROPAGATE_CXX_STD ON)
set(ABSL_ENABLE_INSTALL OFF)
set(TBB_TEST OFF CACHE BOOL "" FORCE)
set(TBB_STRICT OFF CACHE BOOL "" FORCE)
set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
set(CLI11_BUILD_TESTS OFF CACHE BOOL "" FORCE)
set(CLI11_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
set(JSON_BuildTests OFF CACHE INTERNAL "")
bpfsieve_dependency(ABSL absl)
# Abseil is thirty small libraries. As shared ones they are half of the time that a program takes to start, and the first
# calls into them are bound while a verification is timed; their archives are installed beside them.
if(NOT BPFSIEVE_ABSL_SOURCE)
  get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS imported)
    get_target_property(configurations ${target} IMPORTED_CONFIGURATIONS)
    if(target MATCHES "^absl::" AND configurations)
      foreach(configuration IN LISTS configurations)
        get_target_property(library ${target} IMPORTED_LOCATION_${configuration})
        string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${library}")
        if(EXISTS "${archive}")
          set_target_properties(${target} PROPERTIES IMPORTED_LOCATION_${configuration} "${archive}")
        endif()
      endforeach()
    endif()
  endforeach()
endif()
bpfsieve_dependency(TBB TBB)
bpfsieve_dependency(CLI11 CLI11)
bpfsieve_dependency(JSON nlohmann_json)
if(BPFSIEVE_TESTS)
  bpfsieve_dependency(GTEST GTest)
endif()

find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBELF REQUIRED IMPORTED_TARGET libelf)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf)
