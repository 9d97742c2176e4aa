/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library control: the whole program as a call. This one gives the same commands as vmm, after a line of its own; a
 * program that wants its own options composes the libraries below instead.
 */
#include <stdio.h>

#include <vmm/control/control.h>

int main(int argc, char *argv[])
{
    fprintf(stderr, "a virtual machine monitor made of libvmm-control\n");
    return vmm_control_main(argc, argv);
}
