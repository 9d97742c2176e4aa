/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Ports of the host: whether passt could listen there. */
#include "passt_ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

enum { PORT_MOST = 65535 };

struct place {
    bool udp;
    char address[INET6_ADDRSTRLEN]; /* empty: all */
};

/* All addresses: of both families by one socket, as passt does it. */
static socklen_t make_address(const struct place *p, unsigned port, struct sockaddr_storage *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };

    if (p->address[0] && inet_pton(AF_INET, p->address, &in.sin_addr) == 1) {
        memcpy(ret, &in, sizeof(in));
        return sizeof(in);
    }
    if (p->address[0])
        (void)inet_pton(AF_INET6, p->address, &in6.sin6_addr);
    memcpy(ret, &in6, sizeof(in6));
    return sizeof(in6);
}

/* 0 or -errno. Ports of TCP connections that have ended are free for who says that he knows. */
static int listen_there(const struct place *p, unsigned port)
{
    struct sockaddr_storage at;
    socklen_t len = make_address(p, port, &at);
    int fd = socket(at.ss_family, (p->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0), rc = 0;
    const int yes = 1, no = 0;

    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -errno;
    if (!p->udp)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (at.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, p->address[0] ? &yes : &no, sizeof(no));
    if (bind(fd, (const struct sockaddr *)&at, len) || (!p->udp && listen(fd, 1)))
        rc = -errno;
    vm_close(&fd);
    return rc;
}

static int refused(const struct place *p, unsigned port, int code)
{
    const char *proto = p->udp ? "udp" : "tcp", *at = p->address[0] ? " at " : "";

    switch (code) {
    case -EADDRINUSE:
        return vm_fail(code,
                       "forward=%s:%u: that port of the host%s%s is taken by another program: "
                       "choose another one, or end that (ss -lntup shows it)",
                       proto, port, at, p->address);
    case -EACCES:
        return vm_fail(code,
                       "forward=%s:%u: this user may not take that port: choose one from 1024 "
                       "on, or lower net.ipv4.ip_unprivileged_port_start",
                       proto, port);
    case -EADDRNOTAVAIL:
        return vm_fail(code, "forward=%s: the host has no address %s", proto, p->address);
    default: return vm_fail(code, "forward=%s:%u: %s", proto, port, strerror(-code));
    }
}

/* [ADDRESS/]FIRST-LAST:... */
static int try_spec(bool udp, const char *spec)
{
    struct place p = { .udp = udp };
    const char *slash = strchr(spec, '/');
    unsigned long first, last;
    char *end;
    int rc = 0;

    if (slash && (size_t)(slash - spec) < sizeof(p.address))
        memcpy(p.address, spec, (size_t)(slash - spec));
    first = strtoul(slash ? slash + 1 : spec, &end, 10);
    last = *end == '-' ? strtoul(end + 1, NULL, 10) : 0; /* "none" */
    if (!first || last > PORT_MOST)
        return 0;
    for (unsigned port = (unsigned)first; !rc && port <= last; port++)
        if ((rc = listen_there(&p, port)))
            rc = refused(&p, port, rc);
    return rc;
}

int vmm_passt_try_ports(char *const *words)
{
    int rc = 0;

    for (; !rc && words[0] && words[1]; words++) {
        bool udp = !strcmp(words[0], "--udp-ports");

        if (udp || !strcmp(words[0], "--tcp-ports"))
            rc = try_spec(udp, words[1]);
    }
    return rc;
}
