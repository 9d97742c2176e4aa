/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Bytes between a character back end and a serial port. */
#include "uart.h"

static size_t input(void *ctx, const uint8_t *data, size_t len)
{
    struct vdev_uart *u = ctx;
    size_t n = 0;

    vm_lock_acquire(&u->dev->lock);
    while (n < len && !u->dev->quiesced && u->ops->receive(u->dev, data[n]))
        n++;
    u->ops->received(u->dev);
    vm_lock_release(&u->dev->lock);
    return n;
}

static void escape(void *ctx, uint8_t key)
{
    struct vdev_uart *u = ctx;

    vdev_event(u->dev, VDEV_EVENT_ESCAPE, key);
}

static void dropped(void *ctx, bool is_input, uint64_t count)
{
    struct vdev_uart *u = ctx;

    __atomic_fetch_add(is_input ? &u->rx_dropped : &u->tx_dropped, count, __ATOMIC_RELAXED);
}

static void also_dropped(void *ctx, uint64_t count)
{
    struct vdev_uart *u = ctx;

    __atomic_fetch_add(&u->also_dropped, count, __ATOMIC_RELAXED);
}

static const struct vchar_ops chr_ops = {
    .input = input, .escape = escape, .dropped = dropped, .also_dropped = also_dropped
};

int vdev_uart_open(struct vdev_uart *uart, struct vdev *dev, const struct vchar_config *config,
                   const struct vdev_uart_ops *ops)
{
    uart->dev = dev;
    uart->ops = ops;
    return vchar_new(dev->env, dev->id, config, &chr_ops, uart, &uart->chr);
}

void vdev_uart_close(struct vdev_uart *uart)
{
    vchar_free(uart->chr);
    uart->chr = NULL;
}

/* chr is NULL until vchar_new() has returned: input may come before. */
void vdev_uart_send(struct vdev_uart *uart, uint8_t byte)
{
    if (uart->chr)
        vchar_write(uart->chr, &byte, 1, true);
}

void vdev_uart_ready(struct vdev_uart *uart)
{
    if (uart->chr)
        vchar_ready(uart->chr);
}
