/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The outside of a serial port: a character back end whose bytes go into the port's receiver under the device's lock. What the
 * receiver has no room for waits outside; what the outside does not take is dropped there and counted (vmm/char/char.h).
 */
#ifndef VMM_DEVICES_UART_H
#define VMM_DEVICES_UART_H

#include <vmm/char/char.h>
#include <vmm/devices-core/device.h>

struct vdev_uart_ops {
    /* Puts one byte into the receiver; false: no room, or nobody listens. It comes again after vdev_uart_ready(). */
    bool (*receive)(struct vdev *dev, uint8_t byte);
    /* Some bytes have come: the interrupt may have changed. */
    void (*received)(struct vdev *dev);
};

struct vdev_uart {
    struct vdev *dev;
    const struct vdev_uart_ops *ops;
    struct vchar *chr;
    uint64_t tx_dropped, rx_dropped, also_dropped; /* for metrics; atomic */
};
/* The rows of a class's metrics; member is its struct vdev_uart. */
#define VDEV_UART_METRICS(T, member)                                                         \
    { "tx_dropped", offsetof(T, member.tx_dropped), "bytes that nobody read in time" },      \
        { "also_dropped", offsetof(T, member.also_dropped),                                  \
          "bytes that a further place (also=) did not take in time" },                       \
    {                                                                                        \
        "rx_dropped", offsetof(T, member.rx_dropped), "keys typed while the guest read none" \
    }

/* Zeroed before; all is borrowed, config for the call. 0, or -errno with text. */
int vdev_uart_open(struct vdev_uart *uart, struct vdev *dev, const struct vchar_config *config,
                   const struct vdev_uart_ops *ops);
void vdev_uart_close(struct vdev_uart *uart);
/* Under the device's lock. Takes no time and always takes the byte. */
void vdev_uart_send(struct vdev_uart *uart, uint8_t byte);
/* The receiver may have room again. */
void vdev_uart_ready(struct vdev_uart *uart);

#endif
