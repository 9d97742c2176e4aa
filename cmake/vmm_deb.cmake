# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# Debian packages: `cpack -G DEB` (or cpack --config BUILD/CPackConfig.cmake) makes vmm and libvmm-dev.

function(vmm_deb)
    set(CPACK_GENERATOR DEB)
    set(CPACK_PACKAGE_NAME vmm)
    set(CPACK_PACKAGE_VENDOR "the vmm authors")
    set(CPACK_PACKAGE_CONTACT "the vmm authors <vmm@invalid>")
    set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
    set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
    set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
    set(CPACK_STRIP_FILES ON)
    set(CPACK_COMPONENTS_ALL vmm dev)
    set(CPACK_COMPONENTS_GROUPING IGNORE)
    set(CPACK_DEB_COMPONENT_INSTALL ON)
    set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)

    set(CPACK_COMPONENT_VMM_DESCRIPTION "${PROJECT_DESCRIPTION}
 One static program: vmm run boots Linux kernels in a virtual machine.")
    set(CPACK_DEBIAN_VMM_PACKAGE_NAME vmm)
    set(CPACK_DEBIAN_VMM_PACKAGE_SECTION admin)

    set(CPACK_COMPONENT_DEV_DESCRIPTION "${PROJECT_DESCRIPTION}: libraries
 The static libraries that vmm is made of, with headers, pkg-config files, a CMake
 package and documents. Each can be used alone.")
    set(CPACK_DEBIAN_DEV_PACKAGE_NAME libvmm-dev)
    set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
    set(depends "libc6-dev | libc-dev")
    get_property(libraries GLOBAL PROPERTY VMM_LIBRARIES)
    foreach(name IN LISTS libraries)
        get_target_property(packages vmm-${name} VMM_PACKAGES)
        foreach(package IN LISTS packages)
            if(package)
                vmm_package_debian(${package} debian)
                list(APPEND depends ${debian})
            endif()
        endforeach()
    endforeach()
    list(REMOVE_DUPLICATES depends)
    list(JOIN depends ", " CPACK_DEBIAN_DEV_PACKAGE_DEPENDS)
    include(CPack)
endfunction()
