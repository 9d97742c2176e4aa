# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# Toolchain file: builds for AArch64 on another machine, with Debian's cross compiler. VMM_SYSROOT names a folder with the
# arm64 libraries; tests/arm/sysroot.sh makes the one that is looked for when nothing is said.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

if(NOT VMM_SYSROOT)
    set(VMM_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/testbed/sysroot-arm64)
endif()
get_filename_component(VMM_SYSROOT ${VMM_SYSROOT} ABSOLUTE)
set(VMM_SYSROOT ${VMM_SYSROOT} CACHE PATH "folder with the arm64 libraries")
if(NOT EXISTS ${VMM_SYSROOT}/usr/include)
    message(FATAL_ERROR "VMM_SYSROOT=${VMM_SYSROOT} has no arm64 libraries: tests/arm/sysroot.sh gets them")
endif()
# What CMake compiles to look at the compiler reads this file anew.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES VMM_SYSROOT)

# Without it the cross compiler would also look in this machine's /usr/include.
set(CMAKE_SYSROOT ${VMM_SYSROOT})
set(CMAKE_FIND_ROOT_PATH ${VMM_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_PATH} "")
set(ENV{PKG_CONFIG_LIBDIR} ${VMM_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${VMM_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${VMM_SYSROOT})

# How this machine runs what was built, for the tests.
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../tests/arm/run.sh ${VMM_SYSROOT})
