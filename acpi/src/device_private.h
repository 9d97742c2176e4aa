/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the files of the device helpers share. */
#ifndef VMM_ACPI_DEVICE_PRIVATE_H
#define VMM_ACPI_DEVICE_PRIVATE_H

#include <vmm/acpi/device.h>

/* One resource as descriptor, inside a template. */
void vacpi_res_put(struct vacpi_aml *aml, const struct vacpi_resource *r);

#endif
