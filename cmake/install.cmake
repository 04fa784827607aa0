# Headers, the CMake package and the pkg-config file. All of it is independent of the architecture, so it lives under share/.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/coterie)
set(pkgconfig_dir ${CMAKE_INSTALL_DATADIR}/pkgconfig)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/coterie DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.cuh")
install(TARGETS coterie EXPORT coterie)
install(TARGETS coterie_io EXPORT coterie-io)
install(EXPORT coterie NAMESPACE coterie:: FILE coterie-targets.cmake DESTINATION ${package_dir})
install(EXPORT coterie-io NAMESPACE coterie:: FILE coterie-io-targets.cmake DESTINATION ${package_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/coterie-config.cmake.in ${PROJECT_BINARY_DIR}/coterie-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/coterie-config-version.cmake
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/coterie-config.cmake ${PROJECT_BINARY_DIR}/coterie-config-version.cmake DESTINATION ${package_dir})

# Relative to where the .pc file lies, so that an installed tree may be moved.
file(RELATIVE_PATH pc_includedir ${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir} ${CMAKE_INSTALL_FULL_INCLUDEDIR})
configure_file(${CMAKE_CURRENT_LIST_DIR}/coterie.pc.in ${PROJECT_BINARY_DIR}/coterie.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/coterie.pc DESTINATION ${pkgconfig_dir})
