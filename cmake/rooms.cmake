# Headers that most files include, compiled once per build: reading them takes longer than compiling a small file of ours. Some
# presets build without (CMAKE_DISABLE_PRECOMPILE_HEADERS), so that an include that is missing is found. Programs are compiled as
# libraries are, so that both can use the same; -fno-pch-timestamp is for caches of compilations.
set(CMAKE_CXX_COMPILE_OPTIONS_PIE ${CMAKE_CXX_COMPILE_OPTIONS_PIC})
function(bpfsieve_headers name)
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPS;OPTIONS" ${ARGN})
  file(CONFIGURE OUTPUT ${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} bpfsieve_warnings)
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS} $<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>)
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()
set(headers <algorithm> <array> <bit> <cstdint> <cstring> <functional> <map> <memory> <optional> <span> <string>
  <string_view> <utility> <vector> <absl/container/flat_hash_map.h> <absl/status/statusor.h> <absl/strings/str_cat.h>
  <absl/strings/str_format.h>)
bpfsieve_headers(bpfsieve_headers HEADERS ${headers} DEPS absl::flat_hash_map absl::statusor absl::str_format absl::strings)
if(BPFSIEVE_TESTS)
  bpfsieve_headers(bpfsieve_test_headers HEADERS ${headers} <gmock/gmock.h> <gtest/gtest.h> OPTIONS -O0
    DEPS absl::flat_hash_map absl::statusor absl::str_format absl::strings GTest::gmock)
endif()

# One static library per room. A room lists the rooms that it may name; include directories come only through
# linking, so that an include against the direction of DESIGN fails to link.
#   bpfsieve_room(NAME SOURCES a.cc b.cc DEPS bpfsieve_isa absl::status TESTS a_test.cc)
function(bpfsieve_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;TESTS;TEST_DEPS" ${ARGN})
  add_library(bpfsieve_${name} STATIC ${ARG_SOURCES})
  target_precompile_headers(bpfsieve_${name} REUSE_FROM bpfsieve_headers)
  target_include_directories(bpfsieve_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/engine/include>)
  target_link_libraries(bpfsieve_${name} PUBLIC ${ARG_DEPS} PRIVATE $<BUILD_INTERFACE:bpfsieve_warnings>)
  set_target_properties(bpfsieve_${name} PROPERTIES EXPORT_NAME ${name})
  add_library(bpfsieve::${name} ALIAS bpfsieve_${name})
  if(ARG_TESTS AND BPFSIEVE_TESTS)
    bpfsieve_test(${name}_test SOURCES ${ARG_TESTS} DEPS bpfsieve_${name} ${ARG_TEST_DEPS})
  endif()
endfunction()

# bpfsieve_test(NAME SOURCES x_test.cc DEPS ... [LABEL unit])
# Tests are compiled without optimisation, as most take longer to compile than to run; what they test is not.
function(bpfsieve_test name)
  if(NOT BPFSIEVE_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main bpfsieve_warnings)
  target_compile_options(${name} PRIVATE -O0)
  target_precompile_headers(${name} REUSE_FROM bpfsieve_test_headers)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  # 77: the whole test could not run here; it says why. ctest then counts it as skipped, not as passed.
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 600 SKIP_RETURN_CODE 77)
  if(ARG_LABEL STREQUAL oracle)
    # Asks the running kernel, which not every process may: a test that was skipped inside shows as skipped outside.
    set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\] [0-9]+ test")
  endif()
endfunction()
