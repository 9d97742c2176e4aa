# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What follows from the library list once it is complete: tests, fuzz targets, installation.
function(vmm_finish)
    if(VMM_FUZZ)
        if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
            message(FATAL_ERROR "VMM_FUZZ needs clang: set CMAKE_C_COMPILER=clang")
        endif()
        # Coverage instrumentation for the libraries; the main() comes with the fuzz targets' link.
        get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
        foreach(name IN LISTS libraries)
            target_compile_options(vmm-${name} PRIVATE -fsanitize=fuzzer-no-link)
        endforeach()
    endif()
    if(VMM_TESTS OR VMM_FUZZ)
        enable_testing()
        add_subdirectory(tests)
    endif()
endfunction()
