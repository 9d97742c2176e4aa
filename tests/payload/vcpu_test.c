/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Several vCPUs of one VM. */
#include <criterion/criterion.h>

#include "payload.h"

static struct payload p;

TestSuite(vcpus, .timeout = TEST_TIMEOUT);

static void *second(void *unused)
{
    (void)unused;
    payload_run_cpu_to(p.cpu[1], DONE);
    return &p;
}

Test(vcpus, two_of_them_run_at_the_same_time_on_the_same_memory)
{
    pthread_t thread;
    void *ended = NULL;

    payload_new(&p, &(struct payload_config){ .cpus = 2 });
    payload_load(&p, meet);
    payload_set_argument(p.cpu[0], 0);
    payload_set_argument(p.cpu[1], 1);
    pthread_create(&thread, NULL, second, NULL);

    payload_run_to(&p, DONE);

    pthread_join(thread, &ended);
    cr_assert_eq(ended, &p);
    payload_free(&p);
}

Test(vcpus, each_has_registers_of_its_own)
{
    payload_new(&p, &(struct payload_config){ .cpus = 2 });
    payload_load(&p, tell);
    payload_set_argument(p.cpu[0], 0x31);
    payload_set_argument(p.cpu[1], 0x32);

    cr_assert_eq(payload_run_cpu_to(p.cpu[1], TOLD), 0x32);
    cr_assert_eq(payload_run_cpu_to(p.cpu[0], TOLD), 0x31);

    payload_free(&p);
}
