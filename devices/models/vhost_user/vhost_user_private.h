/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Between the files of the device that another program serves.
 *
 *   vhost_user.c  class, options, types        vhost_user_net.c  what is ours to say of a network device
 */
#ifndef VHOST_USER_PRIVATE_H
#define VHOST_USER_PRIVATE_H

#include <vmm/vhost/frontend.h>

enum { VHOST_USER_TAG_BYTES = 36 };
/* VIRTIO 1.2, 5.1.4: up to max_virtqueue_pairs and mtu, up to supported_hash_types. */
enum { VHOST_USER_NET_CONFIG = 24, VHOST_USER_NET_QUEUES_MAX = 33 };

/* What the user said of a device, besides where it is served. */
struct vhost_user_words {
    char tag[VHOST_USER_TAG_BYTES + 1];
    bool has_mac, says_net; /* says_net: the back end says nothing of the network device; we do */
    uint8_t mac[6];
    uint16_t mtu; /* 0: not said */
    uint32_t queues; /* 0: as many as there are */
};

/* As in struct vhost_front_ops, for a network device. */
int vhost_user_net_choose(struct vhost_front *front, const struct vhost_front_there *there,
                          struct vhost_front_choice *choice);
void vhost_user_net_config(struct vhost_front *front, uint8_t *config, uint32_t bytes);
/* The device is made: its back end hears of the MTU. 0 or -errno with text. */
int vhost_user_net_made(struct vhost_front *front);

#endif
