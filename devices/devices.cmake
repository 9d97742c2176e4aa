# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# One line per device; the rest is in its folder (docs/adding-a-device.md).
vmm_device(acpi_ged)
vmm_device(cmos_rtc)
vmm_device(debug_port)
vmm_device(i8042)
vmm_device(ioapic)
vmm_device(pl011)
vmm_device(pl031)
vmm_device(pl061)
vmm_device(serial)
vmm_device(virtio_rng)
vmm_device(virtio_blk)
vmm_device(virtio_console)
