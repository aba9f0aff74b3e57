/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scenarios run again and again, each time with the next allocation of the library made
 * to fail, until none is left.
 */
#ifndef MEMORY_SWEEP_H
#define MEMORY_SWEEP_H

#include "dml/dml.h"

#include "data_fixture.h"

enum { MOST = 3000 };

#define TRY(call)        \
    do {                 \
        status = (call); \
        if (status < 0)  \
            goto out;    \
    } while (0)

/* Calls until something fails, frees what it has, and returns what failed. */
typedef dml_status scenario(fixture *f, dml_ctx *ctx);

static bool injected;

static void listen(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    if (strstr(line, "DML_TEST_ALLOC_FAIL"))
        injected = true;
}

/* Every allocation of the scenario fails once; returns how many there were. */
static inline int sweep(fixture *f, scenario *run)
{
    int n = 1;
    for (bool goes_on = true; goes_on; n++) {
        char number[16];
        dml_ctx *ctx = NULL;
        dml_ctx_opts opts;
        dml_ctx_opts_init(&opts);
        opts.log = listen;
        opts.log_level = DML_LOG_DEBUG;
        injected = false;
        snprintf(number, sizeof number, "%d", n);
        setenv("DML_TEST_ALLOC_FAIL", number, 1);
        dml_status status = dml_ctx_create(&opts, &ctx);
        unsetenv("DML_TEST_ALLOC_FAIL");
        dml_error error = {.text = ""};
        if (status == DML_OK) {
            status = run(f, ctx);
            dml_ctx_last_error(ctx, &error);
            if (status == DML_ENOMEM)
                assert_int_equal(error.status, DML_ENOMEM);
        }
        goes_on = injected;
        if (status != DML_OK && (status != DML_ENOMEM || !injected))
            fail_msg("allocation %d: %s: %s", n, dml_status_name(status), error.text);
        dml_ctx_destroy(ctx);
        assert_true(n < MOST);
    }
    assert_true(n > 2);
    return n - 2;
}

#endif
