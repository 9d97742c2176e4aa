/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Devices in processes of their own, behind vhost-user, on the machine's loop: the front end is the machine's, the process is one
 * that can die at any store and between any two rounds (mortal.h), or a liar is in its place for a while.
 *
 *   [alive] --death--> [dead] --due--> [alive] or [liar] --due--> [dead]
 *
 * A process that comes takes up what was in flight. The driver sees nothing of it all but time, unless the liar wrote into its
 * rings.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <vmm/base/error.h>
#include <vmm/vhost/message.h>

#include "vhost_back_end.h"

enum { MOST_PLACES = 150, CHAINS = 1 << 14 };
#define AWAY_NS 30000000U

/* ---- what a device asks of its machine: a process has none ---- */

static void on_event(struct vdev_machine *machine, struct vdev *dev, enum vdev_event event,
                     uint32_t value)
{
    (void)machine, (void)dev, (void)event, (void)value;
}

static void on_broken(struct vdev_machine *machine, struct vdev *dev, const char *why)
{
    (void)machine, (void)dev, (void)why;
}

static const struct vdev_machine_ops no_ops = { .event = on_event, .broken = on_broken };
static struct vdev_machine no_machine = { .ops = &no_ops };

/* ---- processes ---- */

static void begin(struct sim *s, struct sim_dev *d)
{
    const struct vdev_context context = { .env = &s->env, .machine = &no_machine, .id = SIM_FAR };

    if (mortal_new(&context, d->far.cls, d->far.config, &d->far.m))
        sim_fail(s, "%s: its process does not begin: %s", d->id, vm_error_text());
    d->far.due = 0;
    sim_say(s, "%s: a process begins", d->id);
}

void sim_far_configure(struct sim *s, struct sim_dev *d, const char *options)
{
    const struct virtio_dev *dev;
    char text[128];

    d->far.config = calloc(1, d->far.cls->config_size);
    d->far.chain = calloc(CHAINS, sizeof(*d->far.chain));
    if (!d->far.config || !d->far.chain || vm_prop_defaults(d->far.cls->props, d->far.config) ||
        (*options && vm_prop_parse(d->far.cls->props, d->far.config, d->id, NULL, options)))
        sim_fail(s, "%s: %s", options, vm_error_text());
    begin(s, d);
    dev = d->far.m->dev;
    snprintf(text, sizeof(text), "type=%u,socket=/%u,queues=%u,config_bytes=%u,queue_size=%u",
             dev->id, d->number, dev->queues, dev->config_bytes, dev->queue[0].size_max);
    if (vm_prop_parse(d->cls->props, d->config, d->id, NULL, text))
        sim_fail(s, "%s: %s", text, vm_error_text());
}

int sim_far_connect(struct sim *s, const char *name)
{
    struct sim_far *f = &s->dev[(unsigned)(name[1] - '0') % SIM_DEVS].far;
    int pair[2], rc;

    if (f->liar ? f->liar->channel != NULL : f->m->dead || vhost_backend_busy(f->m->back))
        return vm_fail(-ECONNREFUSED, "%s: nobody is there", name);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return vm_fail_errno("%s", name);
    rc = f->liar ? fbe_serve(f->liar, pair[1]) : mortal_serve(f->m, pair[1]);
    if (rc)
        sim_fail(s, "%s: %s", name, vm_error_text());
    return pair[0];
}

/* It is dead now, or was already when somebody looks. */
static void is_dead(struct sim *s, struct sim_dev *d)
{
    sim_say(s, "%s: its process is dead", d->id);
    d->far.unsettled = true;
    d->far.deaths++;
    s->deaths++;
    d->far.due = vm_loop_now_ns(s->env.loop) + 1 + sim_below(s, AWAY_NS);
}

/* ---- liars ---- */

/* One that does not answer, says no, answers something else, or can less than it could. */
static void begin_liar(struct sim *s, struct sim_dev *d)
{
    struct fake_back_end *liar = malloc(sizeof(*liar));

    if (!liar)
        sim_fail(s, "no memory");
    fbe_init(liar, &s->env);
    liar->features = d->far.m->dev->offered | VHOST_FEATURE_PROTOCOL;
    liar->protocol = sim_next(s) | VHOST_PROTOCOL(INFLIGHT_SHMFD);
    liar->queues = sim_one_in(s, 4) ? 0 : d->queues;
    liar->config_bytes = sim_one_in(s, 3) ? 1 : VHOST_CONFIG_MAX;
    liar->inflight_cut = sim_one_in(s, 4);
    liar->base_answer = (uint32_t)sim_next(s);
    for (unsigned i = 0; i < sizeof(liar->config); i++)
        liar->config[i] = (uint8_t)sim_next(s);
    switch (sim_below(s, 7)) {
    case 0: liar->features &= sim_next(s); break;
    case 1: liar->protocol = sim_next(s) & ~VHOST_PROTOCOL(INFLIGHT_SHMFD); break;
    case 2: liar->silent = sim_between(s, 1, 44); break;
    case 3: liar->refuses = sim_between(s, 1, 44); break;
    case 4: liar->swaps = sim_between(s, 1, 44); break;
    case 5: liar->no_inflight_fd = true; break;
    default: liar->inflight_short = true; break;
    }
    d->far.liar = liar;
    d->far.due = vm_loop_now_ns(s->env.loop) + 1 + sim_below(s, 20 * AWAY_NS);
    s->liars++;
    sim_say(s, "%s: a liar is in its process's place", d->id);
}

/* Used rings with ids that nobody offered and lengths that nobody has room for. The driver knows. */
static void scribble(struct sim *s, struct sim_dev *d)
{
    for (unsigned n = 0; n < d->queues; n++)
        for (unsigned i = sim_between(s, 1, 16); d->q[n].made && i; i--)
            *sim_host(s, d->q[n].base + sim_below(s, SIM_RING_BYTES)) = (uint8_t)sim_next(s);
    d->sick = true;
}

static void end_liar(struct sim *s, struct sim_dev *d)
{
    if ((d->far.liar->inflight_cut || d->far.liar->bases) && d->up)
        d->sick = true; /* the driver may be told to begin anew */
    fbe_die(d->far.liar);
    free(d->far.liar);
    d->far.liar = NULL;
    d->far.due = vm_loop_now_ns(s->env.loop) + 1;
    sim_say(s, "%s: the liar is dead", d->id);
}

/* ---- what happens ---- */

static struct sim_dev *any_far(struct sim *s)
{
    struct sim_dev *d = &s->dev[sim_below(s, s->devs)];

    return d->far.on && !d->leaving ? d : NULL;
}

static void die(struct sim *s, struct sim_dev *d)
{
    if (d->far.m->dead)
        return;
    if (!sim_one_in(s, 4)) {
        mortal_arm(d->far.m, sim_between(s, 1, MOST_PLACES));
        return;
    }
    mortal_kill(d->far.m);
    is_dead(s, d);
}

void sim_far_die(struct sim *s)
{
    struct sim_dev *d = any_far(s);

    if (d)
        die(s, d);
}

void sim_far_step(struct sim *s)
{
    struct sim_dev *d = any_far(s);

    if (d && d->far.liar && d->far.liar->channel && d->up && sim_one_in(s, 3))
        scribble(s, d);
    else if (d)
        die(s, d);
}

static void replace(struct sim *s, struct sim_dev *d)
{
    if (s->ghosts == SIM_GHOSTS)
        return;
    if (d->far.liar) {
        end_liar(s, d);
    } else if (s->far_lies && sim_one_in(s, 12)) {
        begin_liar(s, d);
        return;
    }
    s->ghost[s->ghosts++] = d->far.m;
    begin(s, d);
    if (s->far_lies && sim_one_in(s, 6)) /* it dies again, before or while it takes things up */
        mortal_arm(d->far.m, sim_between(s, 1, MOST_PLACES));
}

static void bury(struct sim *s)
{
    for (unsigned i = 0; i < s->ghosts;) {
        struct mortal *m = s->ghost[i];

        if (m->socket >= 0 && !m->over) {
            i++;
            continue;
        }
        s->ghost[i] = s->ghost[--s->ghosts];
        mortal_end(m);
    }
}

void sim_far_tend(struct sim *s)
{
    uint64_t now = vm_loop_now_ns(s->env.loop);

    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_dev *d = &s->dev[i];

        if (!d->far.on)
            continue;
        mortal_place(d->far.m);
        if (d->far.m->dead && !d->far.due)
            is_dead(s, d);
        else if (d->far.m->dead && d->far.due <= now)
            replace(s, d);
        if (d->far.unsettled && mortal_serves(d->far.m))
            d->far.unsettled = false;
    }
    bury(s);
}

bool sim_far_is_whole(const struct sim_dev *d)
{
    return !d->far.on || (!d->far.m->dead && !d->far.unsettled);
}

bool sim_far_settled(struct sim *s)
{
    bool all = true;

    s->far_lies = false;
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_dev *d = &s->dev[i];

        if (!d->far.on || d->gone)
            continue;
        mortal_arm(d->far.m, 0);
        all = all && !d->far.m->dead && (!d->up || d->sick || mortal_serves(d->far.m));
    }
    return all;
}

void sim_far_close(struct sim *s)
{
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_far *f = &s->dev[i].far;

        if (f->liar)
            end_liar(s, &s->dev[i]);
        if (f->on && s->ghosts < SIM_GHOSTS)
            s->ghost[s->ghosts++] = f->m;
    }
    for (unsigned turns = 0; s->ghosts && turns < 1000; turns++) {
        (void)vm_loop_step(s->env.loop, 10000000);
        bury(s);
    }
    if (s->ghosts)
        sim_fail(s, "a process never ends");
    for (unsigned i = 0; i < s->devs; i++) {
        struct sim_far *f = &s->dev[i].far;

        if (f->on)
            vm_prop_free(f->cls->props, f->config);
        free(f->config);
        free(f->chain);
    }
}

/* ---- a console's output ---- */

void sim_far_note_chain(struct sim *s, struct sim_dev *d, uint32_t len)
{
    if (d->far.chains == CHAINS)
        sim_fail(s, "%s: the simulation sends too many chains", d->id);
    d->far.chain[d->far.chains++] = len;
}

/* From chain `at` on; twice: so many chains may still come again. */
static bool fits(const struct sim_dev *d, size_t at, const uint8_t *sent, const uint8_t *came,
                 size_t left, unsigned twice, bool all)
{
    for (;;) {
        size_t next = at < d->far.chains ? d->far.chain[at] : 0;
        size_t last = at ? d->far.chain[at - 1] : 0;

        if (!left)
            return !all || !next;
        if (last && twice && last <= left && !memcmp(sent - last, came, last) &&
            fits(d, at, sent, came + last, left - last, twice - 1, all))
            return true;
        if (!next || memcmp(sent, came, next < left ? next : left) != 0)
            return false;
        if (next > left)
            return !all;
        sent += next;
        came += next;
        left -= next;
        at++;
    }
}

bool sim_far_stream_fits(const struct sim_dev *d, const uint8_t *came, size_t len, bool all)
{
    size_t done = d->far.settled;

    return len >= done && fits(d, 0, d->sent + done, came + done, len - done, d->far.deaths, all);
}

void sim_far_stream_forget(struct sim_dev *d, size_t len)
{
    d->far.settled = len;
    d->far.chains = 0;
}
