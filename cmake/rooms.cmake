# One static library per room. A room lists the rooms that it may name; include directories come only through
# linking, so that an include against the direction of DESIGN fails to link.
#   bpfsieve_room(NAME SOURCES a.cc b.cc DEPS bpfsieve_isa absl::status TESTS a_test.cc)
function(bpfsieve_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;TESTS;TEST_DEPS" ${ARGN})
  add_library(bpfsieve_${name} STATIC ${ARG_SOURCES})
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
