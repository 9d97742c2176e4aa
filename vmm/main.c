/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The program: everything is in the libraries. */
#include <vmm/control/control.h>

int main(int argc, char *argv[])
{
    return vmm_control_main(argc, argv);
}
