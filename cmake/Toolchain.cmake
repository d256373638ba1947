# Compiler cache, linker, warnings and sanitizers. Warnings and sanitizers are INTERFACE targets, so that
# generated code can leave the warnings out.

find_program(BALLAST_CCACHE ccache)
if(BALLAST_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Paths relative to the build directory and no directory in the hash: every build directory shares one cache.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
                                  CCACHE_SLOPPINESS=time_macros ${BALLAST_CCACHE})
endif()

find_program(BALLAST_MOLD mold)
if(BALLAST_MOLD AND NOT BALLAST_SANITIZE)
  add_link_options($<$<NOT:$<BOOL:$<TARGET_PROPERTY:BALLAST_STATIC>>>:-fuse-ld=mold>)
endif()

add_library(ballast_warnings INTERFACE)
target_compile_options(ballast_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast -Wcast-qual
  -Woverloaded-virtual -Wnull-dereference -Wduplicated-cond -Wlogical-op -Wformat=2 -Wimplicit-fallthrough
  # Optimised, g++ 12 sees null pointers and overlaps that are not there in inlined code of protobuf and the standard library.
  $<$<CONFIG:Release>:-Wno-null-dereference -Wno-restrict>
  $<$<BOOL:${BALLAST_WERROR}>:-Werror>)

if(BALLAST_SANITIZE)
  add_compile_options(-fsanitize=${BALLAST_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${BALLAST_SANITIZE})
  if(BALLAST_SANITIZE MATCHES "thread")
    # Protobuf's headers add members to map fields under this macro, which Debian's library was built without. The standard library and our tests still have to know.
    add_compile_options(-U__SANITIZE_THREAD__ -D_GLIBCXX_TSAN=1 -DBALLAST_THREAD_SANITIZER=1)
  endif()
endif()

add_compile_definitions($<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(BALLAST_STATIC_WORKER)
  # So that the linker can leave out what the worker does not use.
  add_compile_options(-ffunction-sections -fdata-sections)
endif()
find_package(Threads REQUIRED)
