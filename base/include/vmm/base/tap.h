/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Tap interfaces of the host (Documentation/networking/tuntap.rst): opened, made and set up by name. What is wanted travels as one
 * line of text from the device that wants it to who may open names (VM_OPEN_TAP). Threads: no state. ABI: none promised before 1.0.
 */
#ifndef VMM_BASE_TAP_H
#define VMM_BASE_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VM_TAP_NAME_MAX = 15, VM_TAP_TEXT_MAX = 256 };

/* Strings are borrowed; NULL: not given, and left as it is. */
struct vm_tap {
    char *name; /* of the interface: it is made if it does not exist; a macvtap must */
    /* Of the host's side: ADDRESS or ADDRESS/PREFIX. Without a prefix IPv4's mask is 255.255.255.0, and IPv6 has 64. */
    char *ip, *mask;
    char *mac; /* of the host's side */
    uint32_t mtu; /* 0: as it is */
    uint32_t
        queue; /* each one has an fd of its own; the first one's opening sets the interface up */
    bool multi; /* with several queues */
};

/* A MAC address: six bytes in hexadecimal, colons between, of one station (not a group's, not zero). 0, or -EINVAL with text;
 * what names the option in it. */
int vm_mac_parse(const char *what, const char *text, uint8_t ret_mac[6]);

/* What contradicts itself: -EINVAL or -ERANGE with text. */
int vm_tap_check(const struct vm_tap *tap);
/* The text for vm_tap_open(): 0, or -ENAMETOOLONG with text. */
int vm_tap_text(const struct vm_tap *tap, char ret_text[VM_TAP_TEXT_MAX]);
/* An fd of the interface, non-blocking, whose frames have a virtio_net_hdr of 10 bytes before them; the interface is up. -errno with
 * text: -ENOENT (no /dev/net/tun), -EPERM, -EACCES (no privilege), -EBUSY (another program has it), -EINVAL (not a tap interface, or
 * one of another form), -EADDRINUSE (ip is another interface's) ... */
int vm_tap_open(const char *text);

#endif
