# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# vmm_library(NAME IN folder PREFIX p_ [USES lib...] [PACKAGES pkg...] [ARCH arch] [INCLUDE folder] [FOLDERS folder...])
#
# Makes libvmm-NAME.a from folder/src/*.c and folder/include. USES names each library whose header is
# included (base is implied); it must stand on an earlier line, or configuration stops. Dependencies are
# linked PRIVATE: a static library then hands on the link order to its users, but not its include
# directories, so that a header of a library that is not named cannot be found.
# INCLUDE: public headers elsewhere than in folder/include. FOLDERS: more folders with code (one per device). ARCH: only on
# that host.
# Files: X.c is code, X_test.c its Criterion tests, X_fuzz.c its libFuzzer target.
set_property(GLOBAL PROPERTY VMM_LIBRARIES "")

# Debian 12's libfdt-dev has no .pc file: found by hand. A missing package names itself.
function(vmm_package TARGET PACKAGE)
    if(PACKAGE STREQUAL "libfdt")
        find_path(LIBFDT_INCLUDE libfdt.h)
        find_library(LIBFDT_LIBRARY NAMES libfdt.a fdt)
        if(NOT LIBFDT_INCLUDE OR NOT LIBFDT_LIBRARY)
            message(FATAL_ERROR "libfdt was not found: install the package libfdt-dev")
        endif()
        target_include_directories(${TARGET} SYSTEM PRIVATE ${LIBFDT_INCLUDE})
        target_link_libraries(${TARGET} PRIVATE ${LIBFDT_LIBRARY})
    else()
        string(MAKE_C_IDENTIFIER ${PACKAGE} id)
        pkg_check_modules(VMM_PKG_${id} ${PACKAGE})
        if(NOT VMM_PKG_${id}_FOUND)
            vmm_package_debian(${PACKAGE} debian)
            message(FATAL_ERROR "${PACKAGE} was not found: install the package ${debian}")
        endif()
        target_include_directories(${TARGET} SYSTEM PRIVATE ${VMM_PKG_${id}_INCLUDE_DIRS})
        # The archive where there is one: the program is static.
        foreach(library IN LISTS VMM_PKG_${id}_LIBRARIES)
            find_library(VMM_LIB_${library} NAMES lib${library}.a ${library} HINTS ${VMM_PKG_${id}_LIBRARY_DIRS})
            target_link_libraries(${TARGET} PRIVATE ${VMM_LIB_${library}})
        endforeach()
    endif()
endfunction()

# The names in USES must be libraries of earlier lines. Gives base and them as vmm-NAME targets.
function(vmm_uses NAME RET)
    get_property(known GLOBAL PROPERTY VMM_LIBRARIES)
    set(targets "")
    foreach(use IN LISTS ARGN)
        if(NOT use IN_LIST known)
            message(FATAL_ERROR "library ${NAME} uses '${use}', which does not stand above it in the list of CMakeLists.txt")
        endif()
        list(APPEND targets vmm-${use})
    endforeach()
    set(${RET} ${targets} PARENT_SCOPE)
endfunction()

function(vmm_library NAME)
    cmake_parse_arguments(L "" "IN;PREFIX;ARCH;INCLUDE" "USES;PACKAGES;SOURCES;FOLDERS" ${ARGN})
    if(L_UNPARSED_ARGUMENTS OR NOT L_IN OR NOT L_PREFIX)
        message(FATAL_ERROR "vmm_library(${NAME}): needs IN and PREFIX; not understood: '${L_UNPARSED_ARGUMENTS}'")
    endif()
    if(L_ARCH AND NOT L_ARCH STREQUAL VMM_ARCH)
        return()
    endif()
    if(NOT NAME STREQUAL "base")
        list(PREPEND L_USES base)
    endif()
    vmm_uses(${NAME} uses ${L_USES})

    if(NOT L_INCLUDE)
        set(L_INCLUDE ${L_IN}/include)
    endif()
    file(GLOB code CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${L_IN}/src/*.c)
    foreach(folder IN LISTS L_FOLDERS)
        file(GLOB more CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.c)
        list(APPEND code ${more})
    endforeach()
    set(tests ${code})
    set(fuzzers ${code})
    list(FILTER code EXCLUDE REGEX "_(test|fuzz)\\.c$")
    list(FILTER tests INCLUDE REGEX "_test\\.c$")
    list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.c$")

    add_library(vmm-${NAME} STATIC ${code} ${L_SOURCES})
    target_include_directories(vmm-${NAME} PRIVATE ${L_IN}/src)
    target_include_directories(vmm-${NAME} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/${L_INCLUDE}>)
    target_link_libraries(vmm-${NAME} PRIVATE ${uses} Threads::Threads)
    foreach(package IN LISTS L_PACKAGES)
        vmm_package(vmm-${NAME} ${package})
    endforeach()
    set_target_properties(vmm-${NAME} PROPERTIES VMM_IN "${L_IN}" VMM_PREFIX "${L_PREFIX}" VMM_USES "${L_USES}"
        VMM_PACKAGES "${L_PACKAGES}")
    set_property(GLOBAL APPEND PROPERTY VMM_LIBRARIES ${NAME})
    set_property(GLOBAL PROPERTY VMM_TESTS_OF_${NAME} "${tests}")
    set_property(GLOBAL PROPERTY VMM_FUZZERS_OF_${NAME} "${fuzzers}")
endfunction()
