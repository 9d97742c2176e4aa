/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The benchmarks' guests on the network: eth0 is 10.0.0.2/24, net_peer.c answers at 10.0.0.1, and at CID 2. */
#ifndef TESTS_BENCH_GUEST_NET_H
#define TESTS_BENCH_GUEST_NET_H

/* what: "udp", "rr", "out" or "in", by sockets of VIRTIO "vrr", "vout" or "vin" (guest_init.c); count of its items. A mistake is told on standard error as "@failed ...". */
void guest_net(const char *what, long count);

#endif
