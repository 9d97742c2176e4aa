/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a client of the control socket may send, against a machine that is built but has no hypervisor. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dry.h"
#include "requests.h"

enum { INPUTS_PER_MACHINE = 500 };

static struct fuzz {
    struct run_model model;
    struct run_config *config;
    struct dry dry;
    unsigned inputs;
} fuzz;

static void answered(void *ctx, const char *line)
{
    (void)ctx;
    (void)line;
}

static void listening(void *ctx)
{
    (void)ctx;
}

/* A stop ends the machine for good: a new one now and then. */
static int renew(void)
{
    if (fuzz.inputs++ % INPUTS_PER_MACHINE)
        return 0;
    if (fuzz.dry.machine) {
        vmm_dry_free(&fuzz.dry);
        vmm_run_config_free(&fuzz.model, fuzz.config);
        vmm_run_model_free(&fuzz.model);
    }
    if (vmm_run_model_new(&fuzz.model))
        return -1;
    fuzz.config = vmm_run_config_new(&fuzz.model);
    if (!fuzz.config)
        return -1;
    fuzz.config->payload.kernel = strdup("kernel");
    fuzz.config->log_level = VM_LOG_ERROR;
    return vmm_dry_new(&fuzz.model, fuzz.config, DRY_ON_NOTHING, 0, &fuzz.dry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request_reply reply = { .done = answered, .listen = listening, .ctx = &fuzz };
    char *answer;

    if (renew())
        abort(); /* our own trouble, not the input's */
    answer = vmm_requests_handle(fuzz.dry.machine, (const char *)data, size, &reply);
    if (answer && answer[0] != '{')
        abort();
    free(answer);
    return 0;
}
