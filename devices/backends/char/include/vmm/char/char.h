/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Character back ends: where the bytes of a serial port or a console go to and come from: the user's terminal, a file, a
 * pseudo-terminal, a Unix socket, or nowhere.
 *
 * Writing never blocks: bytes wait in a ring until the other side takes them; what does not fit any more is dropped and
 * counted. So a reader that does not read stops neither a vCPU nor a device.
 *
 * also= adds further sinks: output goes to each of them, and input comes from any. The first one has the rules above; each of the
 * others has a ring of its own, of which the oldest or newest bytes are dropped and counted by themselves, so that none of them
 * ever holds up the owner or another.
 *
 * Threads: vchar_write() may be called from any thread (one at a time per back end: the device's lock); all else,
 * call-backs included, belongs to env->loop's thread. But the user's own terminal (mode=tty) is read in env->keys_loop's, where
 * the escape key is told; both loops stand still in vchar_new() and vchar_free().
 */
#ifndef VMM_CHAR_CHAR_H
#define VMM_CHAR_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/base/env.h>
#include <vmm/base/prop.h>

/* AUTO: file if file= is given, socket if socket= is, else what the owner makes of it. */
enum vchar_mode {
    VCHAR_AUTO,
    VCHAR_OFF,
    VCHAR_NULL,
    VCHAR_TTY,
    VCHAR_FILE,
    VCHAR_PTY,
    VCHAR_SOCKET
};
extern const char *const vchar_modes[];
extern const char *const vchar_modes_ch[]; /* cloud-hypervisor's spellings */

/* A member of a device's config struct; VCHAR_PROPS() are its rows. */
struct vchar_config {
    uint32_t mode;
    char *file, *socket;
    bool keep; /* append to the file instead of starting it anew */
    struct vm_prop_list also; /* of struct vchar_config, whose own are empty */
};
enum { VCHAR_ALSO_MAX = 7 };
extern const struct vm_prop vchar_also_props[];
#define VCHAR_PROPS(T, member)                                                               \
    VCHAR_SINK_PROPS(T, member),                                                             \
    {                                                                                        \
        .name = "also", .type = VM_PROP_OBJECTS, .offset = offsetof(T, member.also),         \
        .props = vchar_also_props, .element_size = sizeof(struct vchar_config),              \
        .max = VCHAR_ALSO_MAX,                                                               \
        .help = "further places where the bytes go to and come from, each by mode=, file=, " \
                "socket= and append= of its own"                                             \
    }
#define VCHAR_SINK_PROPS(T, member)                                                              \
    { .name = "mode",                                                                            \
      .type = VM_PROP_ENUM,                                                                      \
      .offset = offsetof(T, member.mode),                                                        \
      .values = vchar_modes,                                                                     \
      .values_ch = vchar_modes_ch,                                                               \
      .preset = "auto",                                                                          \
      .alias_crosvm = "type",                                                                    \
      .help =                                                                                    \
          "where the bytes go: off, null, tty (standard input and output), file, pty, socket" }, \
        { .name = "file",                                                                        \
          .type = VM_PROP_PATH,                                                                  \
          .offset = offsetof(T, member.file),                                                    \
          .alias_crosvm = "path",                                                                \
          .help = "output file, or with mode=pty a link to make to the pseudo-terminal" },       \
        { .name = "socket",                                                                      \
          .type = VM_PROP_PATH,                                                                  \
          .offset = offsetof(T, member.socket),                                                  \
          .max = 107,                                                                            \
          .help = "Unix socket to listen on, for one client at a time" },                        \
    {                                                                                            \
        .name = "append", .type = VM_PROP_BOOL, .offset = offsetof(T, member.keep),              \
        .help = "append to the file"                                                             \
    }

/* What contradicts itself in a configuration, which vchar_new() would refuse: for owners that do not open it. -EINVAL with
 * text. */
int vchar_check(const struct vchar_config *config);
/* Both name the same file, as far as their texts tell: "./a" and "x/../a" are "a". Links are not followed. */
bool vchar_same_path(const char *a, const char *b);
/* It has a sink of that mode, which is not AUTO. */
bool vchar_uses(const struct vchar_config *config, enum vchar_mode mode);
/* It goes nowhere (mode=null) and names nothing any more. */
void vchar_config_mute(struct vchar_config *config);

struct vchar_ops {
    /* Bytes from outside: takes as many as there is room for and returns the number; the rest comes again after
     * vchar_ready(), or at once together with what comes behind it. */
    size_t (*input)(void *ctx, const uint8_t *data, size_t len);
    /* The user typed the escape key, Ctrl-A, and then this key (tty and pty only). Optional. tty: in env->keys_loop's thread. */
    void (*escape)(void *ctx, uint8_t key);
    /* There is room for output again, after vchar_write() dropped or took less. Optional. */
    void (*drained)(void *ctx);
    /* More bytes were dropped: of output, or typed ones (vchar_dropped(), vchar_in_dropped()). Any thread, also within
     * vchar_write() and vchar_free(). Optional. */
    void (*dropped)(void *ctx, bool input, uint64_t count);
    /* More bytes of output were dropped by further sinks (also=), which says nothing of the first one. As dropped. Optional. */
    void (*also_dropped)(void *ctx, uint64_t count);
    /* Somebody connected, or has gone: vchar_connected() may have changed. In env->loop's thread, some time after it. Optional. */
    void (*connected)(void *ctx);
};

struct vchar;

/* name is for messages ("serial0"); config is read during the call; AUTO without file and socket counts as OFF. ops and ctx are
 * borrowed. Opens what it names by env->open. 0, or -errno with text. */
int vchar_new(const struct vm_env *env, const char *name, const struct vchar_config *config,
              const struct vchar_ops *ops, void *ctx, struct vchar **ret_chr);
/* Writes what is still in the ring if that is possible without waiting. NULL is allowed. */
void vchar_free(struct vchar *chr);

/* Queues bytes for output. Returns how many were taken; with take_all the rest counts as dropped, else the owner keeps it (and
 * drained() tells when to go on). */
size_t vchar_write(struct vchar *chr, const uint8_t *data, size_t len, bool take_all);

/* What waits for mode=file is written now, as far as that needs no waiting: for an owner whose process may die as soon as it has said
 * that the bytes are out. Other modes: nothing. In env->loop's thread; under whatever lock vchar_write() is. */
void vchar_flush(struct vchar *chr);

/* Somebody takes the bytes now: a client, a user at the pseudo-terminal; a file, a terminal and mode=null always do. Of several
 * sinks: one of them does. Any thread. */
bool vchar_connected(const struct vchar *chr);
/* How often somebody has come; where it has changed, whoever is there now is not who was there before. Of several sinks always 0, for one
 * of them may have stayed. Any thread. */
uint64_t vchar_connections(const struct vchar *chr);

/* It has several sinks (also=): an owner that waits for the first one keeps the others waiting. */
bool vchar_is_shared(const struct vchar *chr);

/* One of its sinks is the user's own terminal, read by env->keys_loop: it cannot be freed while that runs, and with it would go the escape key. */
bool vchar_has_keys(const struct vchar *chr);

/* The owner can take input again. Any thread. */
void vchar_ready(struct vchar *chr);

/* Bytes of output dropped since the start, by the first sink; by all further ones. Any thread. */
uint64_t vchar_dropped(const struct vchar *chr);
uint64_t vchar_also_dropped(const struct vchar *chr);
/* Bytes of input dropped: typed at a terminal (tty, pty), which is always read for its escape key, while the owner took nothing
 * and the buffer was full. */
uint64_t vchar_in_dropped(const struct vchar *chr);

/* The first sink's pseudo-terminal ("/dev/pts/3"); NULL in other modes. Borrowed. */
const char *vchar_pty(const struct vchar *chr);

#endif
