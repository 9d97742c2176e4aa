/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of dirty.c: marking, taking, the vhost layout, threads. */
#include <pthread.h>
#include <stdlib.h>

#include "memory_test.h"

enum { PAGES = 256, WORDS = PAGES / 64 };

static struct gm_dirty *make_dirty(bool atomic)
{
    struct gm_dirty *dirty = NULL;

    cr_assert_eq(gm_dirty_new((gpa_t)PAGES * PAGE, atomic, &dirty), 0);
    return dirty;
}

static void check_marks(bool atomic)
{
    struct gm_dirty *dirty = make_dirty(atomic);
    uint64_t words[WORDS] = { 0 };

    gm_dirty_mark(dirty, 0, 1);
    gm_dirty_mark(dirty, 3 * PAGE + 4095, 2); /* pages 3 and 4 */
    gm_dirty_mark(dirty, 60 * PAGE, 9 * PAGE); /* 60 to 68, over a word's end */
    gm_dirty_mark(dirty, 128 * PAGE, 0);
    gm_dirty_mark(dirty, 200 * PAGE, 1);

    cr_assert_eq(gm_dirty_take(dirty, 0, words, WORDS), 13);
    cr_assert_eq(words[0], 0xf000000000000019);
    cr_assert_eq(words[1], 0x1f);
    cr_assert_eq(words[2], 0);
    cr_assert_eq(words[3], 1ULL << (200 - 192));
    cr_assert_eq(gm_dirty_take(dirty, 0, words, WORDS), 0, "taken is clear");
    gm_dirty_free(dirty);
}

Test(dirty, marks_the_pages_a_range_touches)
{
    check_marks(false);
    check_marks(true);
}

Test(dirty, take_ors_into_the_words_of_the_caller)
{
    struct gm_dirty *dirty = make_dirty(false);
    uint64_t word = 6;

    gm_dirty_mark(dirty, 0, 2 * PAGE);

    cr_assert_eq(gm_dirty_take(dirty, 0, &word, 1), 2);
    cr_assert_eq(word, 7);
    gm_dirty_free(dirty);
}

Test(dirty, take_of_a_part_leaves_the_rest)
{
    struct gm_dirty *dirty = make_dirty(false);
    uint64_t words[WORDS] = { 0 };

    gm_dirty_mark(dirty, 0, (uint64_t)PAGES * PAGE);

    cr_assert_eq(gm_dirty_take(dirty, 64, words, 1), 64);
    cr_assert_eq(words[0], UINT64_MAX);
    memset(words, 0, sizeof(words));
    cr_assert_eq(gm_dirty_take(dirty, 0, words, WORDS), 192);
    cr_assert_eq(words[1], 0);
    gm_dirty_free(dirty);
}

Test(dirty, marks_beyond_the_end_are_dropped_and_taken_as_clear)
{
    struct gm_dirty *dirty = make_dirty(true);
    uint64_t words[WORDS + 2] = { 0 };

    gm_dirty_mark(dirty, (gpa_t)(PAGES - 1) * PAGE, UINT64_MAX);
    gm_dirty_mark(dirty, UINT64_MAX, 1);
    gm_dirty_mark(dirty, (gpa_t)PAGES * PAGE, PAGE);

    cr_assert_eq(gm_dirty_take(dirty, 0, words, WORDS + 2), 1);
    cr_assert_eq(words[WORDS - 1], 1ULL << 63);
    cr_assert_eq(words[WORDS] | words[WORDS + 1], 0);
    cr_assert_eq(gm_dirty_take(dirty, 1 << 20, words, 1), 0);
    gm_dirty_free(dirty);
}

Test(dirty, an_empty_bitmap_takes_no_marks)
{
    struct gm_dirty *dirty = NULL;
    uint64_t word = 0;

    cr_assert_eq(gm_dirty_new(0, false, &dirty), 0);
    gm_dirty_mark(dirty, 0, PAGE);

    cr_assert_eq(gm_dirty_take(dirty, 0, &word, 1), 0);
    gm_dirty_free(dirty);
    gm_dirty_free(NULL);
}

Test(dirty, vhost_log_has_page_n_in_bit_n_of_its_bytes)
{
    uint8_t log[16] = { 0 };
    struct gm_dirty *dirty = NULL;

    cr_assert_eq(gm_dirty_new_at(log, sizeof(log), &dirty), 0);
    gm_dirty_mark(dirty, 0, 1);
    gm_dirty_mark(dirty, 9 * PAGE, PAGE);
    gm_dirty_mark(dirty, 127 * PAGE, 5 * PAGE);

    cr_assert_eq(log[0], 1);
    cr_assert_eq(log[1], 2);
    cr_assert_eq(log[15], 0x80);
    gm_dirty_free(dirty);
    cr_assert_eq(log[0], 1, "the log belongs to the caller");
}

Test(dirty, vhost_log_may_be_odd_in_place_and_size)
{
    _Alignas(8) uint8_t memory[16] = { 0 };
    struct gm_dirty *dirty = NULL;
    uint64_t words[2] = { 0 };

    cr_assert_eq(gm_dirty_new_at(memory + 3, 9, &dirty), 0);
    gm_dirty_mark(dirty, 0, 200 * PAGE);

    cr_assert_eq(memory[2], 0);
    cr_assert_eq(memory[12], 0);
    cr_assert_eq(gm_dirty_take(dirty, 0, words, 2), 72);
    cr_assert_eq(words[0], UINT64_MAX);
    cr_assert_eq(words[1], 0xff);
    gm_dirty_free(dirty);
}

Test(dirty, marks_of_another_process_are_taken_too)
{
    _Alignas(8) uint8_t log[8] = { 0 };
    struct gm_dirty *dirty = NULL;
    uint64_t word = 0;

    cr_assert_eq(gm_dirty_new_at(log, sizeof(log), &dirty), 0);
    log[7] = 0x80;

    cr_assert_eq(gm_dirty_take(dirty, 0, &word, 1), 1);
    cr_assert_eq(word, 1ULL << 63);
    gm_dirty_free(dirty);
}

struct marker {
    struct gm_dirty *dirty;
    unsigned first;
};

static void *mark_every_second(void *arg)
{
    struct marker *m = arg;

    for (int round = 0; round < 200; round++) {
        for (unsigned page = m->first; page < PAGES; page += 2)
            gm_dirty_mark(m->dirty, (gpa_t)page * PAGE, 1);
    }
    return NULL;
}

Test(dirty, atomic_marks_of_two_threads_are_not_lost_while_a_third_takes)
{
    struct gm_dirty *dirty = make_dirty(true);
    struct marker m[2] = { { dirty, 0 }, { dirty, 1 } };
    uint64_t words[WORDS] = { 0 }, none[WORDS] = { 0 };
    pthread_t thread[2];

    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, mark_every_second, &m[i]), 0);
    for (int i = 0; i < 100; i++)
        gm_dirty_take(dirty, 0, words, WORDS);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    gm_dirty_take(dirty, 0, words, WORDS);

    for (int i = 0; i < WORDS; i++)
        cr_assert_eq(words[i], UINT64_MAX);
    cr_assert_eq(gm_dirty_take(dirty, 0, none, WORDS), 0);
    gm_dirty_free(dirty);
}
