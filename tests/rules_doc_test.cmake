# Run by ctest with -P: docs/rules.md ends with what `bpfsieve rules --markdown` prints. To renew it, keep the text above
# the table and append the command's output.
execute_process(COMMAND ${BPFSIEVE} rules --markdown RESULT_VARIABLE code OUTPUT_VARIABLE table)
if(NOT code EQUAL 0 OR table STREQUAL "")
  message(FATAL_ERROR "bpfsieve rules --markdown: ${code}")
endif()
file(READ ${DOC} doc)
string(LENGTH "${doc}" doc_length)
string(LENGTH "${table}" table_length)
string(FIND "${doc}" "${table}" at REVERSE)
math(EXPR want "${doc_length} - ${table_length}")
if(NOT at EQUAL want)
  message(FATAL_ERROR "${DOC} is not up to date with `bpfsieve rules --markdown`")
endif()
