# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# vmm_device(NAME [PACKAGES pkg...]): adds devices/models/NAME/ (NAME.c and more, NAME_test.c, NAME.md) to the library
# devices, and NAME_class to the generated table. VMM_DEVICES chooses which ones are built.
set_property(GLOBAL PROPERTY VMM_DEVICE_NAMES "")

function(vmm_device NAME)
    cmake_parse_arguments(D "" "" "PACKAGES" ${ARGN})
    set_property(GLOBAL APPEND PROPERTY VMM_DEVICE_ALL ${NAME})
    if(NOT VMM_DEVICES STREQUAL "all" AND NOT NAME IN_LIST VMM_DEVICES)
        return()
    endif()
    set(folder ${CMAKE_SOURCE_DIR}/devices/models/${NAME})
    foreach(file IN ITEMS ${NAME}.c ${NAME}_test.c ${NAME}.md)
        if(NOT EXISTS ${folder}/${file})
            message(FATAL_ERROR "device ${NAME}: devices/models/${NAME}/${file} is missing")
        endif()
    endforeach()
    set_property(GLOBAL APPEND PROPERTY VMM_DEVICE_NAMES ${NAME})
    set_property(GLOBAL APPEND PROPERTY VMM_DEVICE_PACKAGES ${D_PACKAGES})
endfunction()

# Ends the list: makes the table and the library.
function(vmm_devices_library)
    get_property(names GLOBAL PROPERTY VMM_DEVICE_NAMES)
    get_property(all GLOBAL PROPERTY VMM_DEVICE_ALL)
    get_property(packages GLOBAL PROPERTY VMM_DEVICE_PACKAGES)
    foreach(name IN LISTS VMM_DEVICES)
        if(NOT name STREQUAL "all" AND NOT name IN_LIST all)
            list(JOIN all ", " list)
            message(FATAL_ERROR "VMM_DEVICES: there is no device '${name}'; there are: ${list}")
        endif()
    endforeach()
    set(declarations "")
    set(rows "")
    set(folders "")
    foreach(name IN LISTS names)
        string(APPEND declarations "extern const struct vdev_class ${name}_class;\n")
        string(APPEND rows "    &${name}_class,\n")
        list(APPEND folders devices/models/${name})
    endforeach()
    configure_file(${CMAKE_SOURCE_DIR}/cmake/device_table.c.in ${CMAKE_BINARY_DIR}/device_table.c @ONLY)
    vmm_library(devices IN devices PREFIX vdev_ ${ARGN} FOLDERS ${folders} SOURCES ${CMAKE_BINARY_DIR}/device_table.c
        PACKAGES ${packages})
    # A device's symbols begin with its folder's name.
    list(TRANSFORM names APPEND "_")
    list(JOIN names " " prefixes)
    set_property(TARGET vmm-devices PROPERTY VMM_PREFIX "vdev_ ${prefixes}")
endfunction()
