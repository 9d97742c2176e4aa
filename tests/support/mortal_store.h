/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Put before each file of library virtio-queue (-include) where it is compiled for test programs with devices that die (mortal.h).
 * What outlives a process, rings and the log of what is in flight, is written by this library with __atomic_store_n() alone: the
 * moment before each such store, and the one after it, are places to die at. The library itself knows nothing of it.
 */
#ifndef TESTS_SUPPORT_MORTAL_STORE_H
#define TESTS_SUPPORT_MORTAL_STORE_H

void mortal_store(const void *to);

/* A macro is not expanded inside its own expansion: the builtin. */
#define __atomic_store_n(to, value, order) \
    (mortal_store(to), __atomic_store_n(to, value, order), mortal_store(to))

#endif
