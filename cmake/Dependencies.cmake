# Every library comes from Debian. Protobuf first: gRPC's package file expects its targets.
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
if(BALLAST_GRPC)
  # Left in the cache by pkg_check_modules below; gRPC's own search for RE2 would take it for its own and define no target.
  unset(re2_FOUND CACHE)
  find_package(gRPC CONFIG REQUIRED)
endif()
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(re2 REQUIRED IMPORTED_TARGET re2)
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
  find_package(GTest REQUIRED)
endif()

# spdlog and fmt: compiled where the program is dynamic. Debian has no static archives of them, so a build with a static worker uses their
# headers alone, everywhere, because the libraries are shared between the programs.
add_library(ballast_logging_library INTERFACE)
if(BALLAST_STATIC_WORKER)
  target_compile_definitions(ballast_logging_library INTERFACE SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY=1)
else()
  target_link_libraries(ballast_logging_library INTERFACE fmt::fmt spdlog::spdlog)
endif()
