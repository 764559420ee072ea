# One interface target carries the warning set, so that every folder builds under the same rules.
add_library(holdfast_warnings INTERFACE)
target_compile_options(
  holdfast_warnings
  INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
            -Wnon-virtual-dtor -Woverloaded-virtual -Wnull-dereference -Wimplicit-fallthrough -Wswitch-enum -Werror
            -Wno-missing-field-initializers  # Designated initialisers leave the rest at its default on purpose.
)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # -Wnull-dereference and -Wstringop-overflow see ghosts in inlined library code under sanitizers.
  target_compile_options(holdfast_warnings INTERFACE -Wduplicated-cond -Wlogical-op)
  # GCC 12's optimizer sees overruns and null pointers in inlined strings, JSON and Asio that are not there. The debug
  # build and the sanitizers judge these.
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(
      holdfast_warnings INTERFACE -Wno-null-dereference -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow
                                  -Wno-stringop-overread -Wno-maybe-uninitialized -Wno-free-nonheap-object
    )
  endif()
  if(CMAKE_CXX_FLAGS MATCHES "fsanitize")
    target_compile_options(holdfast_warnings INTERFACE -Wno-null-dereference -Wno-maybe-uninitialized)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12 deprecates std::get_temporary_buffer and uses it in std::stable_sort itself.
  target_compile_options(holdfast_warnings INTERFACE -Wthread-safety -Wno-deprecated-declarations)
endif()
