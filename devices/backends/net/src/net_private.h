/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Between the files of the network back ends. */
#ifndef VMM_NET_PRIVATE_H
#define VMM_NET_PRIVATE_H

#include <vmm/net/net.h>

enum { VNET_NAME = 64 };

/* What each back end is made from; borrowed during the call, but env, events and ctx. */
struct vnet_setup {
    const struct vm_env *env;
    const char *name;
    const struct vnet_config *config;
    unsigned pairs;
    const struct vnet_events *events;
    void *ctx;
};

/* AUTO is settled. */
enum vnet_mode vnet_mode_of(const struct vnet_config *config);
/* The name by which the opener gives queue n of the tap. */
int vnet_tap_name(const struct vnet_config *config, unsigned pairs, unsigned n, char *ret_text);

/* user.c: what passt is to be told, by which the opener gives a way to get connections (VM_OPEN_USER); -EINVAL, -ERANGE, -E2BIG with
 * text. The longest frame that passt carries. */
enum { VNET_USER_TEXT_MAX = 3072 };
int vnet_user_text(const struct vnet_config *config, char ret_text[VNET_USER_TEXT_MAX]);
uint32_t vnet_user_frame_max(void);

/* fds: one per pair, taken over also on error. */
int vnet_tap_new(const struct vnet_setup *setup, const int *fds, struct vnet **ret_net);
/* fd: a connected stream socket, taken over also on error; -1: config says where it comes from. */
int vnet_socket_new(const struct vnet_setup *setup, int fd, struct vnet **ret_net);
/* feed: where connections to passt are asked for (vm_dial_ask()), taken over also on error. */
int vnet_user_new(const struct vnet_setup *setup, int feed, struct vnet **ret_net);

#endif
