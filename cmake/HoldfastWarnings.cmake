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
  if(CMAKE_CXX_FLAGS MATCHES "fsanitize")
    target_compile_options(holdfast_warnings INTERFACE -Wno-null-dereference -Wno-maybe-uninitialized)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # libstdc++ 12 deprecates std::get_temporary_buffer and uses it in std::stable_sort itself.
  target_compile_options(holdfast_warnings INTERFACE -Wthread-safety -Wno-deprecated-declarations)
endif()
