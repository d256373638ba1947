# Every library comes from Debian. Protobuf first: gRPC's package file expects its targets.
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
if(BALLAST_GRPC)
  find_package(gRPC CONFIG REQUIRED)
endif()
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(SQLite3 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
# Names of our own: gRPC's search for RE2 would take what is left in the cache under `re2` for its own, and define no target.
pkg_check_modules(BALLAST_ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(BALLAST_RE2 REQUIRED IMPORTED_TARGET re2)
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
  find_package(GTest REQUIRED)
endif()

# spdlog and fmt, compiled. Debian has no static archives of them, so a static program gets them compiled here, from the sources that
# their headers carry.
add_library(ballast_logging_library INTERFACE)
set_target_properties(ballast_logging_library PROPERTIES EXPORT_NAME logging)
target_link_libraries(ballast_logging_library INTERFACE fmt::fmt spdlog::spdlog)
add_library(ballast_static_logging STATIC EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/cmake/static_logging.cc)
target_link_libraries(ballast_static_logging PRIVATE ballast_logging_library)
