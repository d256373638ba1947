# The installed library, component `library`: headers, archives, the runner, and the CMake package `Ballast` with the target
# Ballast::memory. The prefix can be moved: nothing in it names the place where it was built or installed.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Ballast::memory and every archive that it links.
set(library_targets ballast_logging_library)
ballast_collect_archives(ballast::memory library_targets)
install(TARGETS ${library_targets}
        EXPORT BallastTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/ballast COMPONENT library
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ballast-runner RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/ballast COMPONENT library)

# The public headers, and the messages that they are about.
install(DIRECTORY worker/memory/ballast/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ballast COMPONENT library FILES_MATCHING PATTERN "*.h")
foreach(name IN ITEMS options workload model environment telemetry run job memory_report)
  install(FILES ${PROJECT_BINARY_DIR}/proto/generated/ballast/v1/${name}.pb.h
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ballast/v1 COMPONENT library)
endforeach()

set(package_directory ${CMAKE_INSTALL_LIBDIR}/cmake/Ballast)
set(runner_program ${CMAKE_INSTALL_LIBEXECDIR}/ballast/ballast-runner)
configure_package_config_file(cmake/BallastConfig.cmake.in ${PROJECT_BINARY_DIR}/BallastConfig.cmake
                              INSTALL_DESTINATION ${package_directory} PATH_VARS runner_program NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/BallastConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/BallastConfig.cmake ${PROJECT_BINARY_DIR}/BallastConfigVersion.cmake
        DESTINATION ${package_directory} COMPONENT library)
install(EXPORT BallastTargets NAMESPACE Ballast:: DESTINATION ${package_directory} COMPONENT library)
