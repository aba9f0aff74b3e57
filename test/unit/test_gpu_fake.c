/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake device in a process that has few addresses left: it takes what there is, and
 * says so where that is not enough.
 */
#include "gpu_fixture.h"

#include <sys/resource.h>
#include <unistd.h>

/* Lets this process have so many GiB of addresses more than it has now. */
static void leave_room(rlim_t gib)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (gib << 30);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static void half_the_addresses_do(void **unused)
{
    (void)unused;
    leave_room(40);
    assert_int_equal(gpu_open(NULL), 0);
    enum { N = 3 };
    static const size_t bytes[N] = {(size_t)1 << 30, 0, (size_t)700 << 20};
    const float in[2] = {1.5f, -3};
    void *memory[N];
    for (int i = 0; i < N; i++)
        memory[i] = gpu_new(bytes[i]);
    for (int i = 0; i < N; i++) { /* at the end of each */
        float out[2] = {0};
        gpu_copy((char *)memory[i] + bytes[i], in, sizeof in);
        gpu_copy(out, (char *)memory[i] + bytes[i], sizeof out);
        assert_memory_equal(out, in, sizeof in);
    }
    for (int i = 0; i < N; i++)
        gpu_delete(memory[i]);
    gpu_close(NULL);
}

static void too_few_are_told(void **unused)
{
    (void)unused;
    leave_room(4);
    assert_int_equal(gpu_open(NULL), 0);
    void *memory = NULL;
    assert_int_equal(dml_gpu_alloc(gpu_ctx, 1, &memory), DML_ENOMEM);
    dml_error error;
    dml_ctx_last_error(gpu_ctx, &error);
    assert_string_equal(error.text, "no addresses for the fake device");
    gpu_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_the_addresses_do),
        cmocka_unit_test(too_few_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
