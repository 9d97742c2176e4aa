/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ports of the host that passt is told to listen at. */
#ifndef VMM_MACHINE_PASST_PORTS_H
#define VMM_MACHINE_PASST_PORTS_H

/* Tries each that stands behind --tcp-ports and --udp-ports in words (NULL at the end), as [ADDRESS/]FIRST-LAST:...; passt itself says
 * nothing where it gets one of two families only, and never why. 0; -EADDRINUSE, -EACCES, -EADDRNOTAVAIL with text. */
int vmm_passt_try_ports(char *const *words);

#endif
