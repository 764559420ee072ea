include(GoogleTest)

# holdfast_library(<folder> [DEPENDS <folder or library>...])
#
# Makes the static library holdfast_<folder> of every .cc below the calling folder that is not a test, and, of the
# *_test.cc files beside them, the test program <folder>_test. A new file needs no edit here.
function(holdfast_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  foreach(excluded IN LISTS ARG_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${excluded}")
  endforeach()
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test(ing)?\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")

  if(NOT sources)
    add_library(holdfast_${name} INTERFACE)
    target_link_libraries(holdfast_${name} INTERFACE ${ARG_DEPENDS})
    return()
  endif()
  add_library(holdfast_${name} STATIC ${sources})
  target_include_directories(holdfast_${name} PUBLIC "${PROJECT_SOURCE_DIR}/src")
  target_link_libraries(holdfast_${name} PRIVATE holdfast_warnings PUBLIC ${ARG_DEPENDS})
  # What handles every byte of a backup or every request is worth the compiler's time; the rest would only take longer to build.
  if(name MATCHES "^(base|catalog|control|postgres|vault)$")
    target_compile_options(holdfast_${name} PRIVATE $<$<CONFIG:Release>:-O2>)
  endif()
  if(name STREQUAL "base")
    target_precompile_headers(holdfast_base PRIVATE "${PROJECT_SOURCE_DIR}/src/base/precompiled.h")
  else()
    target_precompile_headers(holdfast_${name} REUSE_FROM holdfast_base)
  endif()

  if(HOLDFAST_TESTS AND tests)
    holdfast_test(${name}_test SOURCES ${tests} DEPENDS holdfast_${name})
  endif()
endfunction()

# holdfast_test(<program> SOURCES <file>... [DEPENDS <library>...] [LABELS <label>...] [TIMEOUT <seconds>])
function(holdfast_test program)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS fast)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${program} ${ARG_SOURCES})
  target_link_libraries(${program} PRIVATE holdfast_warnings ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  target_precompile_headers(${program} REUSE_FROM holdfast_base)
  gtest_discover_tests(
    ${program} TEST_PREFIX "${program}." DISCOVERY_MODE PRE_TEST
    PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
  )
endfunction()
