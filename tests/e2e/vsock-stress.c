/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Many connections at once, streams and messages mixed: vsock-cases.c. Workers of the client keep SLOTS connections each, of which they take one at
 * random and open it, send something, compare the echo, or end it; the server echoes. Rude clients of the host come and go meanwhile.
 *
 * Where the machine's metrics can be had, those of the device are compared with what was done.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "vsock-cases.h"

enum {
    WORKERS = 8,
    SLOTS = 48, /* of a worker */
    AT_LEAST = 200, /* at once, at some time */
    SENT_MAX = 8192, /* at a time: no side waits for room while the other one does */
    TURNS = 4, /* most echoes of a connection */
    RUDE_ROUNDS = 3,
    RSTS_MAX = 3, /* of one connection: packets that are on their way when it is reset */
};

/* How a connection ends. Only what the device or Linux cannot know to be over when it ends is answered by RSTs. */
enum ending {
    CLOSES, /* when all was echoed */
    HALF_CLOSES, /* behind the last bytes; the rest comes back, and the end */
    ABORTS, /* leaves what comes back unread */
};

static enum ending ending_of(uint32_t i)
{
    return i % 7 == 0 ? ABORTS : i % 2 ? HALF_CLOSES : CLOSES;
}

static int type_of(uint32_t i)
{
    return i % 4 < 2 ? SOCK_STREAM : SOCK_SEQPACKET;
}

static uint32_t number_of(enum ending ending)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < plan.each; i++)
        n += ending_of(i) == ending;
    return WORKERS * n;
}

/* ---- client ---- */

struct slot {
    int fd; /* -1: none */
    int type;
    enum ending ending;
    unsigned turns; /* left */
    uint32_t seed;
    size_t len; /* to come back; 0: nothing */
};

static uint8_t bytes[SENT_MAX], got[SENT_MAX];

static void slot_open(struct slot *s, uint32_t i, uint32_t *random)
{
    *s = (struct slot){ .type = type_of(i), .ending = ending_of(i) };
    s->turns = 1 + draw(random) % TURNS;
    s->fd = dial(s->type);
}

static void slot_send(struct slot *s, uint32_t *random)
{
    s->seed = draw(random);
    s->len = 1 + draw(random) % SENT_MAX;
    s->turns--;
    fill(bytes, s->len, s->seed);
    if (s->type == SOCK_STREAM)
        send_all(s->fd, bytes, s->len);
    else
        CHECK(send(s->fd, bytes, s->len, MSG_NOSIGNAL) == (ssize_t)s->len);
    if (!s->turns && s->ending == HALF_CLOSES)
        CHECK(!shutdown(s->fd, SHUT_WR));
}

static void slot_compare(struct slot *s)
{
    fill(bytes, s->len, s->seed);
    if (s->type == SOCK_STREAM)
        expect_bytes(s->fd, bytes, s->len);
    else
        CHECK(recv(s->fd, got, SENT_MAX, 0) == (ssize_t)s->len && !memcmp(got, bytes, s->len));
    s->len = 0;
}

static void slot_close(struct slot *s)
{
    if (s->ending == HALF_CLOSES)
        expect_end(s->fd);
    close(s->fd);
    s->fd = -1;
}

static void slot_turn(struct slot *s, uint32_t *random)
{
    if (!s->len && s->turns) {
        slot_send(s, random);
    } else if (s->len && !s->turns && s->ending == ABORTS) {
        await_events(s->fd, POLLIN);
        slot_close(s);
    } else if (s->len) {
        slot_compare(s);
    } else {
        slot_close(s);
    }
}

static void work(uint32_t worker)
{
    struct slot slots[SLOTS];
    uint32_t random = worker + 1, begun = 0, open = 0;

    for (int i = 0; i < SLOTS; i++)
        slots[i].fd = -1;
    while (open || begun < plan.each) {
        struct slot *s = &slots[draw(&random) % SLOTS];

        if (s->fd >= 0) {
            slot_turn(s, &random);
            open -= s->fd < 0;
        } else if (begun < plan.each) {
            slot_open(s, begun++, &random);
            open++;
        }
    }
}

/* ---- server ---- */

struct server {
    struct pollfd
        p[2 + WORKERS * SLOTS *
                  2]; /* listeners first; the device may see an end later than the client */
    unsigned n, most;
    uint32_t taken;
};

static void echo(struct pollfd *p)
{
    ssize_t n = recv(p->fd, got, sizeof(got), 0), done = 0, m;

    while (n > 0 && done < n && (m = send(p->fd, got + done, (size_t)(n - done), MSG_NOSIGNAL)) > 0)
        done += m;
    if (n > 0 && done == n)
        return;
    close(p->fd); /* its end, or it left */
    p->fd = -1;
}

static void take(struct server *s, int listener)
{
    CHECK(s->n < sizeof(s->p) / sizeof(s->p[0]));
    s->p[s->n++] = (struct pollfd){ .fd = accept_one(listener), .events = POLLIN };
    s->taken++;
    s->most = s->n - 2 > s->most ? s->n - 2 : s->most;
}

static void serve(void)
{
    static struct server s;

    s = (struct server){ .n = 2 };
    s.p[0] = (struct pollfd){ .fd = listening_socket(SOCK_STREAM), .events = POLLIN };
    s.p[1] = (struct pollfd){ .fd = listening_socket(SOCK_SEQPACKET), .events = POLLIN };
    meet();
    while (s.n > 2 || s.taken < WORKERS * plan.each) {
        unsigned was = s.n;

        CHECK(poll(s.p, s.n, 1000 * PATIENCE_S) > 0);
        for (unsigned i = 0; i < 2; i++)
            if (s.p[i].revents)
                take(&s, s.p[i].fd);
        for (unsigned i = was; i-- > 2;) {
            if (s.p[i].revents)
                echo(&s.p[i]);
            if (s.p[i].fd < 0)
                s.p[i] = s.p[--s.n];
        }
    }
    close(s.p[0].fd);
    close(s.p[1].fd);
    printf("@at-once %u of %u\n", s.most, s.taken);
    CHECK(plan.each < SLOTS || s.most >= AT_LEAST);
}

/* ---- metrics ---- */

struct metrics {
    unsigned long resets, bad_clients, connects, accepts, refused;
};

/* What `vmm info` prints of the device. */
static const char *device_info(void)
{
    static char text[1 << 20];
    FILE *f = popen(info, "r");
    const char *at;
    size_t n;

    CHECK(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = 0;
    CHECK(!pclose(f));
    at = strstr(text, "\"virtio-vsock\"");
    CHECK(at);
    return at;
}

static unsigned long metric(const char *text, const char *which)
{
    char key[32];
    const char *at;

    snprintf(key, sizeof(key), "\"%s\": ", which);
    at = strstr(text, key);
    CHECK(at);
    return strtoul(at + strlen(key), NULL, 10);
}

unsigned long device_metric(const char *which)
{
    return info ? metric(device_info(), which) : 0;
}

static struct metrics measure(void)
{
    const char *text = device_info();

    return (struct metrics){ metric(text, "resets"), metric(text, "bad_clients"),
                             metric(text, "connects"), metric(text, "accepts"),
                             metric(text, "refused") };
}

/*
 * RSTs that the device counts, which are those that say that something was cut off:
 *
 *   the host's client aborts   one, and one for each packet that the guest sends until it hears of it
 *   the guest's client aborts  none: its SHUTDOWN of both directions is answered by an RST that is the end (VIRTIO 1.2, 5.10.6.4)
 *   half-close by the guest    none, or a few: the host's program then closes, all is over for the device, and the guest still tells
 *                              of room, or of its end
 */
static void compare_metrics(const struct metrics *was, bool client)
{
    unsigned long total = WORKERS * plan.each, made = client ? total : 0;
    unsigned long least = client ? number_of(ABORTS) : 0;
    unsigned long most = client ? RSTS_MAX * least : 2UL * number_of(HALF_CLOSES);
    struct metrics m;

    for (int i = 0; i < 100; i++) { /* what ends is seen after a moment */
        pause_ms(100);
        m = measure();
        if (m.bad_clients - was->bad_clients >= RUDE_ROUNDS * RUDE &&
            m.resets - was->resets >= least)
            break;
    }
    printf("@metrics resets %lu (%lu to %lu), bad_clients %lu (%d), connects %lu, accepts %lu, "
           "refused %lu\n",
           m.resets - was->resets, least, most, m.bad_clients - was->bad_clients,
           RUDE_ROUNDS * RUDE, m.connects - was->connects, m.accepts - was->accepts,
           m.refused - was->refused);
    CHECK(m.resets - was->resets >= least && m.resets - was->resets <= most);
    CHECK(m.bad_clients - was->bad_clients == RUDE_ROUNDS * RUDE);
    CHECK(m.accepts - was->accepts == made && m.connects - was->connects == total - made);
    CHECK(m.refused == was->refused);
}

/* ---- both ---- */

static void be_rude(uint32_t round)
{
    int fd[RUDE];

    for (; round < RUDE_ROUNDS; round++) {
        rude_come(fd);
        pause_ms(200);
        rude_go(fd);
    }
}

static pid_t begin(void (*run)(uint32_t), uint32_t with)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (!child) {
        run(with);
        _exit(0);
    }
    return child;
}

static void await(pid_t child)
{
    int status;

    CHECK(waitpid(child, &status, 0) == child && !status);
}

void many_mixed(bool client)
{
    pid_t child[WORKERS], rude = -1;
    struct metrics before = { 0 };

    if (info)
        before = measure();
    meet();
    if (!is_guest)
        rude = begin(be_rude, 0);
    if (client) {
        meet();
        for (uint32_t i = 0; i < WORKERS; i++)
            child[i] = begin(work, i);
        for (uint32_t i = 0; i < WORKERS; i++)
            await(child[i]);
    } else {
        serve();
    }
    if (!is_guest)
        await(rude);
    meet();
    if (info)
        compare_metrics(&before, client);
}
