/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much memory may be taken, from made-up files of the kernel: no control groups,
 * the new and the old version, nested groups, page cache, and paths of a container.
 */
#include "comm/share.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];

/* Writes a file below the root, and makes its folders. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int open_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/dml-room-XXXXXX");
    if (mkdtemp(root) == NULL)
        return -1;
    put("proc/meminfo",
        "MemTotal:  4000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n");
    return 0;
}

static int remove_root(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void test_nothing_known(void **state)
{
    (void)state;
    assert_true(isinf(dml__room_bytes("/nowhere")));
}

static void test_machine(void **state)
{
    (void)state;
    assert_true(dml__room_bytes(root) == 1000 * 1024);
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    put("sys/fs/cgroup/memory.current", "5000\n");
    assert_true(dml__room_bytes(root) == 1000 * 1024);
}

/* A job's group within a user's: the smaller room counts, wherever it is. */
static void test_new_nested(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/user/job\n");
    put("sys/fs/cgroup/user/memory.max", "90000\n");
    put("sys/fs/cgroup/user/memory.current", "60000\n");
    put("sys/fs/cgroup/user/job/memory.max", "max\n");
    put("sys/fs/cgroup/user/job/memory.current", "50000\n");
    assert_true(dml__room_bytes(root) == 30000);
    put("sys/fs/cgroup/user/job/memory.max", "60000\n");
    assert_true(dml__room_bytes(root) == 10000);
}

static void test_page_cache(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/job\n");
    put("sys/fs/cgroup/job/memory.max", "90000\n");
    put("sys/fs/cgroup/job/memory.current", "80000\n");
    put("sys/fs/cgroup/job/memory.stat",
        "anon 1\nfile 50000\nshmem 20000\ninactive_file 21000\nactive_file 9000\n");
    assert_true(dml__room_bytes(root) == 40000);
}

static void test_old(void **state)
{
    (void)state;
    put("proc/self/cgroup", "9:cpu,cpuacct:/far\n4:hugetlb,memory:/batch/7\n0::/\n");
    put("sys/fs/cgroup/memory/batch/7/memory.limit_in_bytes", "70000\n");
    put("sys/fs/cgroup/memory/batch/7/memory.usage_in_bytes", "40000\n");
    put("sys/fs/cgroup/memory/batch/7/memory.stat",
        "inactive_file 1\ntotal_inactive_file 2000\ntotal_active_file 3000\n");
    assert_true(dml__room_bytes(root) == 35000);
}

/* The path is the host's, what is mounted is the container's. */
static void test_container(void **state)
{
    (void)state;
    put("proc/self/cgroup", "4:memory:/docker/0123\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "50000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "20000\n");
    assert_true(dml__room_bytes(root) == 30000);
}

int main(void)
{
#define ROOM(test) cmocka_unit_test_setup_teardown(test, open_root, remove_root)
    const struct CMUnitTest tests[] = {
        ROOM(test_nothing_known), ROOM(test_machine), ROOM(test_new_nested),
        ROOM(test_page_cache),    ROOM(test_old),     ROOM(test_container),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
