# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# What follows from the library list once it is complete: the program, tests, fuzz targets, installation.
#
# An installed library is include/vmm/NAME/*.h, lib/libvmm-NAME.a, lib/pkgconfig/vmm-NAME.pc and the component NAME of
# the CMake package vmm, all made from the properties that vmm_library() left on its target.
include(CheckLinkerFlag)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
include(vmm_deb)

# The program: static and position independent in release builds, so that it needs nothing but the kernel.
function(vmm_program NAME SOURCE LIBRARY)
    add_executable(${NAME} ${SOURCE})
    target_link_libraries(${NAME} PRIVATE vmm-${LIBRARY} Threads::Threads)
    if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT VMM_SANITIZE AND NOT VMM_COVERAGE)
        target_link_options(${NAME} PRIVATE -static-pie)
        # Relative relocations in a twentieth of the room: they are read at each start.
        check_linker_flag(C -Wl,-z,pack-relative-relocs VMM_HAVE_RELR)
        if(VMM_HAVE_RELR AND VMM_ARCH STREQUAL "x86_64")
            target_link_options(${NAME} PRIVATE -Wl,-z,pack-relative-relocs)
        endif()
        # Code that is never used apart from code that is.
        set(script ${CMAKE_SOURCE_DIR}/cmake/rest.ld)
        check_linker_flag(C -Wl,-T,${script} VMM_HAVE_INSERT)
        if(VMM_HAVE_INSERT)
            target_link_options(${NAME} PRIVATE -Wl,-T,${script})
            set_property(TARGET ${NAME} APPEND PROPERTY LINK_DEPENDS ${script})
        endif()
    endif()
    install(TARGETS ${NAME} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT vmm)
    # The texts that the program itself writes. A cross build cannot run it, and an instrumented one should not have to.
    if(NOT CMAKE_CROSSCOMPILING AND NOT VMM_SANITIZE AND NOT VMM_COVERAGE AND NOT VMM_FUZZ)
        vmm_install_texts(${NAME})
    endif()
endfunction()

# Manual page and completions.
function(vmm_install_texts PROGRAM)
    set(dir ${CMAKE_BINARY_DIR}/texts)
    file(MAKE_DIRECTORY ${dir})
    add_custom_command(OUTPUT ${dir}/${PROGRAM}.1 ${dir}/${PROGRAM} ${dir}/_${PROGRAM} ${dir}/${PROGRAM}.fish
        COMMAND ${PROGRAM} man > ${dir}/${PROGRAM}.1
        COMMAND ${PROGRAM} completion bash > ${dir}/${PROGRAM}
        COMMAND ${PROGRAM} completion zsh > ${dir}/_${PROGRAM}
        COMMAND ${PROGRAM} completion fish > ${dir}/${PROGRAM}.fish
        DEPENDS ${PROGRAM} COMMENT "Manual page and completions")
    add_custom_target(${PROGRAM}-texts ALL DEPENDS ${dir}/${PROGRAM}.1)
    set(share ${CMAKE_INSTALL_DATADIR})
    install(FILES ${dir}/${PROGRAM}.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT vmm)
    install(FILES ${dir}/${PROGRAM} DESTINATION ${share}/bash-completion/completions COMPONENT vmm)
    install(FILES ${dir}/${PROGRAM}.fish DESTINATION ${share}/fish/vendor_completions.d COMPONENT vmm)
    # zsh looks in another folder for what a distribution's package brings than for what the administrator does.
    install(CODE "
        set(folder ${share}/zsh/site-functions)
        if(CMAKE_INSTALL_PREFIX MATCHES \"/usr\$\")
            set(folder ${share}/zsh/vendor-completions)
        endif()
        file(INSTALL \"${dir}/_${PROGRAM}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/\${folder}\")" COMPONENT vmm)
endfunction()

# What the linker calls the libraries of a package in PACKAGES.
function(vmm_package_libraries PACKAGE RET)
    if(PACKAGE STREQUAL "libfdt")
        set(${RET} fdt PARENT_SCOPE)
    else()
        string(MAKE_C_IDENTIFIER ${PACKAGE} id)
        set(${RET} ${VMM_PKG_${id}_LIBRARIES} PARENT_SCOPE)
    endif()
endfunction()

# Debian's name of the package that a program needs to be linked with PACKAGE.
function(vmm_package_debian PACKAGE RET)
    if(PACKAGE STREQUAL "zlib")
        set(${RET} zlib1g-dev PARENT_SCOPE)
    elseif(PACKAGE MATCHES "^lib")
        set(${RET} ${PACKAGE}-dev PARENT_SCOPE)
    else()
        set(${RET} lib${PACKAGE}-dev PARENT_SCOPE)
    endif()
endfunction()

# libvmm-NAME.a, its headers and its .pc file. There is no shared object: everything an archive needs is needed by
# every program, so all of it stands in Requires and Libs, and `pkg-config --libs` is right with and without --static.
function(vmm_install_library NAME)
    set(target vmm-${NAME})
    get_target_property(uses ${target} VMM_USES)
    get_target_property(packages ${target} VMM_PACKAGES)
    get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
    string(REGEX REPLACE "\\$<BUILD_INTERFACE:([^>]*)>" "\\1" includes "${includes}")
    install(TARGETS ${target} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
    foreach(include IN LISTS includes)
        install(DIRECTORY ${include}/vmm/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vmm COMPONENT dev
            FILES_MATCHING PATTERN "*.h")
    endforeach()

    set(requires ${uses})
    list(TRANSFORM requires PREPEND vmm-)
    set(libs "-lvmm-${NAME}")
    foreach(package IN LISTS packages)
        if(package STREQUAL "libfdt")
            string(APPEND libs " -lfdt") # Debian 12 has no .pc file of it
        elseif(package)
            list(APPEND requires ${package})
        endif()
    endforeach()
    list(JOIN requires ", " requires)
    file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
    string(REGEX REPLACE "/$" "" up "${up}")
    configure_file(${CMAKE_SOURCE_DIR}/cmake/library.pc.in ${CMAKE_BINARY_DIR}/package/${target}.pc @ONLY)
    install(FILES ${CMAKE_BINARY_DIR}/package/${target}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
endfunction()

# The CMake package: one row per library in vmmConfig.cmake.
function(vmm_install_package)
    set(rows "")
    foreach(name IN LISTS ARGN)
        get_target_property(uses vmm-${name} VMM_USES)
        get_target_property(packages vmm-${name} VMM_PACKAGES)
        set(needs "")
        foreach(package IN LISTS packages)
            if(package)
                vmm_package_libraries(${package} libraries)
                vmm_package_debian(${package} debian)
                foreach(library IN LISTS libraries)
                    list(APPEND needs ${library}=${debian})
                endforeach()
            endif()
        endforeach()
        string(REPLACE ";" " " uses "${uses}")
        string(REPLACE ";" " " needs "${needs}")
        string(APPEND rows "_vmm_library(${name} USES ${uses} NEEDS ${needs})\n")
    endforeach()
    set(folder ${CMAKE_INSTALL_LIBDIR}/cmake/vmm)
    configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/vmmConfig.cmake.in
        ${CMAKE_BINARY_DIR}/package/vmmConfig.cmake INSTALL_DESTINATION ${folder}
        PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
    # Nothing is promised before 1.0: a change of the second number may change every interface.
    write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/vmmConfigVersion.cmake
        COMPATIBILITY SameMinorVersion)
    install(FILES ${CMAKE_BINARY_DIR}/package/vmmConfig.cmake ${CMAKE_BINARY_DIR}/package/vmmConfigVersion.cmake
        DESTINATION ${folder} COMPONENT dev)
endfunction()

# gcc would read the LTO part of a fat object whenever it links one, and refuse that of another version: what is
# installed is machine code only.
function(vmm_install_plain_archives)
    if(NOT CMAKE_INTERPROCEDURAL_OPTIMIZATION OR NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
        return()
    endif()
    install(CODE "
        file(GLOB archives \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libvmm-*.a\")
        foreach(archive IN LISTS archives)
            execute_process(COMMAND \"${CMAKE_OBJCOPY}\" --remove-section=.gnu.lto_* --remove-section=.gnu.debuglto_*
                \"\${archive}\" COMMAND_ERROR_IS_FATAL ANY)
        endforeach()" COMPONENT dev)
endfunction()

function(vmm_install_documents)
    set(licences ${CMAKE_SOURCE_DIR}/LICENSE-APACHE ${CMAKE_SOURCE_DIR}/LICENSE-BSD-3-Clause)
    set(doc ${CMAKE_INSTALL_DATADIR}/doc)
    configure_file(${CMAKE_SOURCE_DIR}/cmake/copyright.in ${CMAKE_BINARY_DIR}/package/copyright @ONLY)
    install(FILES ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${licences} ${CMAKE_BINARY_DIR}/package/copyright
        DESTINATION ${doc}/vmm COMPONENT vmm)
    install(FILES ${licences} ${CMAKE_BINARY_DIR}/package/copyright DESTINATION ${doc}/libvmm-dev COMPONENT dev)
    install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION ${doc}/libvmm-dev COMPONENT dev
        FILES_MATCHING PATTERN "*.md" PATTERN "*.c" PATTERN "CMakeLists.txt" PATTERN "Makefile")
    install(FILES ${CMAKE_SOURCE_DIR}/docs/vmm-run.md ${CMAKE_SOURCE_DIR}/docs/control-socket.md
        DESTINATION ${doc}/vmm COMPONENT vmm OPTIONAL)
endfunction()

function(vmm_install)
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    foreach(name IN LISTS libraries)
        vmm_install_library(${name})
    endforeach()
    vmm_install_package(${libraries})
    vmm_install_plain_archives()
    vmm_install_documents()
    vmm_deb()
endfunction()

function(vmm_finish)
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    foreach(name IN LISTS libraries)
        if(VMM_FUZZ)
            if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
                message(FATAL_ERROR "VMM_FUZZ needs clang: set CMAKE_C_COMPILER=clang")
            endif()
            # Coverage instrumentation for the libraries; the main() comes with the fuzz targets' link.
            target_compile_options(vmm-${name} PRIVATE -fsanitize=fuzzer-no-link)
        endif()
        # Only gcc can put machine code beside its LTO part; an archive that no other linker reads is of no use.
        if(NOT CMAKE_C_COMPILER_ID STREQUAL "GNU")
            set_target_properties(vmm-${name} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
        endif()
    endforeach()
    vmm_install()
    if(VMM_TESTS OR VMM_FUZZ)
        enable_testing()
        add_subdirectory(tests)
    endif()
endfunction()
