# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# One Criterion program per library from its X_test.c files, one libFuzzer program per X_fuzz.c. They may
# use tests/support (fakes) and every library: a test stands outside the graph.

# At the top of the tree, not in a function: the root's list of tests would not be written.
enable_testing()

# abort_on_error: with Criterion a leak report alone would leave the exit status at 0.
# Leaks are looked for with ptrace(2), which the user-mode emulator of a cross build has not.
set(leaks 1)
if(CMAKE_CROSSCOMPILING)
    set(leaks 0)
endif()
set(VMM_TEST_ENV "ASAN_OPTIONS=abort_on_error=1:detect_leaks=${leaks}" "UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1"
    "TSAN_OPTIONS=halt_on_error=1")

function(vmm_test_environment TEST)
    set_tests_properties(${TEST} PROPERTIES ENVIRONMENT "${VMM_TEST_ENV}")
endfunction()

# Everything NAME may touch: itself and all below it, users first (link order).
function(vmm_closure NAME RET)
    set(todo ${NAME})
    set(found "")
    while(todo)
        list(POP_FRONT todo next)
        list(APPEND found ${next})
        get_target_property(uses vmm-${next} VMM_USES)
        if(uses)
            list(APPEND todo ${uses})
        endif()
    endwhile()
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    list(REVERSE libraries)
    set(ordered "")
    foreach(library IN LISTS libraries)
        if(library IN_LIST found)
            list(APPEND ordered vmm-${library})
        endif()
    endforeach()
    set(${RET} ${ordered} PARENT_SCOPE)
endfunction()

# Links a test or fuzz program with a library, all below it, and the fakes of tests/support that need no more
# than these.
function(vmm_test_link PROGRAM NAME)
    vmm_closure(${NAME} libraries)
    if("vmm-vhost" IN_LIST libraries)
        target_link_libraries(${PROGRAM} PRIVATE vmm-support-vhost)
    endif()
    if("vmm-virtio" IN_LIST libraries)
        target_link_libraries(${PROGRAM} PRIVATE vmm-support-virtio)
    endif()
    if("vmm-virtio-queue" IN_LIST libraries)
        target_link_libraries(${PROGRAM} PRIVATE vmm-support)
    endif()
    target_link_libraries(${PROGRAM} PRIVATE ${libraries} Threads::Threads)
    target_include_directories(${PROGRAM} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support
        ${CMAKE_SOURCE_DIR}/tests/support/${VMM_ARCH})
    # One for all tests: the runner of Criterion 2.4 forgets the record of a test that is to end after the next one, which is a
    # leak to the address sanitizer, and leaves that test without a limit.
    target_compile_definitions(${PROGRAM} PRIVATE TEST_TIMEOUT=240)
    # The archives hold machine code beside what link-time optimisation needs: gcc would do that for each test program anew, for minutes.
    set_target_properties(${PROGRAM} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        target_link_options(${PROGRAM} PRIVATE -fno-lto -fno-use-linker-plugin)
    endif()
endfunction()

# vmm_test_program(PROGRAM LIBRARY sources...): a Criterion program.
function(vmm_test_program PROGRAM LIBRARY)
    pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
    add_executable(${PROGRAM} ${ARGN})
    vmm_test_link(${PROGRAM} ${LIBRARY})
    if(VMM_SANITIZE STREQUAL "thread" OR CMAKE_CROSSCOMPILING)
        # Criterion's library and this sanitizer do not work together; its headers do. For each test it starts its program
        # anew with twenty shared libraries, which in an emulator takes twenty times longer than most tests.
        target_sources(${PROGRAM} PRIVATE ${CMAKE_SOURCE_DIR}/tests/ci/runner.c)
    else()
        target_link_libraries(${PROGRAM} PRIVATE PkgConfig::CRITERION)
    endif()
    # Criterion's macros do not pass these two.
    target_compile_options(${PROGRAM} PRIVATE -Wno-conversion -Wno-shadow)
endfunction()

# vmm_test_static(PROGRAM LIBRARY [FOLDER...]): PROGRAM-static, the same tests without Criterion's library, which is dynamic only: what an
# emulated host gets. In release trees alone.
function(vmm_test_static PROGRAM LIBRARY)
    if(NOT CMAKE_BUILD_TYPE STREQUAL "Release" OR VMM_SANITIZE OR VMM_COVERAGE)
        return()
    endif()
    get_target_property(sources ${PROGRAM} SOURCES)
    list(APPEND sources ${CMAKE_SOURCE_DIR}/tests/ci/runner.c) # a cross build has it already
    list(REMOVE_DUPLICATES sources)
    add_executable(${PROGRAM}-static ${sources})
    vmm_test_link(${PROGRAM}-static ${LIBRARY})
    target_include_directories(${PROGRAM}-static PRIVATE ${ARGN}
        $<TARGET_PROPERTY:PkgConfig::CRITERION,INTERFACE_INCLUDE_DIRECTORIES>)
    target_compile_options(${PROGRAM}-static PRIVATE -Wno-conversion -Wno-shadow)
    target_link_options(${PROGRAM}-static PRIVATE -static)
endfunction()

# libraries.txt in the build tree tells scripts (tests/style, tests/coverage.sh) about the libraries, one a line:
# NAME|PREFIX|ARCHIVE|FOLDER|INCLUDE-DIRECTORIES, these separated by ';': what a user of its headers is given.
function(vmm_list_libraries)
    set(lines "")
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    foreach(name IN LISTS libraries)
        get_target_property(prefix vmm-${name} VMM_PREFIX)
        get_target_property(folder vmm-${name} VMM_IN)
        get_target_property(uses vmm-${name} VMM_USES)
        set(includes "$<TARGET_PROPERTY:vmm-${name},INTERFACE_INCLUDE_DIRECTORIES>")
        foreach(use IN LISTS uses)
            string(APPEND includes ";$<TARGET_PROPERTY:vmm-${use},INTERFACE_INCLUDE_DIRECTORIES>")
        endforeach()
        string(APPEND lines "${name}|${prefix}|$<TARGET_FILE:vmm-${name}>|${folder}|${includes}\n")
    endforeach()
    file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/libraries.txt CONTENT "${lines}")
endfunction()

function(vmm_unit_tests)
    vmm_list_libraries()
    set(timeout 400)
    if(CMAKE_CROSSCOMPILING)
        set(timeout 1200) # the emulator, on a busy machine
    endif()
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    foreach(name IN LISTS libraries)
        get_property(tests GLOBAL PROPERTY VMM_TESTS_OF_${name})
        if(tests)
            get_target_property(folder vmm-${name} VMM_IN)
            vmm_test_program(test-${name} ${name} ${tests})
            target_include_directories(test-${name} PRIVATE ${CMAKE_SOURCE_DIR}/${folder}/src)
            add_test(NAME unit.${name} COMMAND test-${name} -j2)
            vmm_test_environment(unit.${name})
            set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT ${timeout})
        endif()
    endforeach()
endfunction()

function(vmm_fuzz_targets)
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    foreach(name IN LISTS libraries)
        get_property(fuzzers GLOBAL PROPERTY VMM_FUZZERS_OF_${name})
        foreach(file IN LISTS fuzzers)
            get_filename_component(id ${file} NAME_WE)
            string(REGEX REPLACE "_fuzz$" "" id ${id})
            get_target_property(folder vmm-${name} VMM_IN)
            add_executable(fuzz-${id} ${file})
            vmm_test_link(fuzz-${id} ${name})
            target_include_directories(fuzz-${id} PRIVATE ${CMAKE_SOURCE_DIR}/${folder}/src)
            target_compile_options(fuzz-${id} PRIVATE -Wno-missing-prototypes)
            target_link_options(fuzz-${id} PRIVATE -fsanitize=fuzzer)
        endforeach()
    endforeach()
endfunction()
