/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node's protocols between threads instead of processes, so that ThreadSanitizer
 * sees both sides of every hand-over: posts and slots, channels, and sleeping at the
 * desk. Threads have what processes have, a view of the desks of their own.
 */
#include "comm/node.h"
#include "comm/share.h"
#include "comm/shm.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { RANKS = 3, OPERATIONS = 4000, MESSAGES = 1500, LONGEST = 5000 };

struct rank {
    struct dml__node node;
    struct dml__share share;
    int rank_of[RANKS];
    struct dml__desk *desk[RANKS];
    unsigned long long seen[RANKS];
    unsigned long naps, lost; /* sleeps; those that nobody ended */
    unsigned long wrong;
    uint64_t state; /* of the random numbers */
};

static struct rank ranks[RANKS];

static unsigned draw(struct rank *r, unsigned below)
{
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(r->state >> 33) % below;
}

static int open_ranks(void **state)
{
    size_t bytes = sizeof(struct dml__desk) + RANKS * sizeof(struct dml__channel);
    bytes = (bytes + 4095) / 4096 * 4096;
    (void)state;
    memset(ranks, 0, sizeof ranks);
    for (int i = 0; i < RANKS; i++) {
        struct dml__desk *desk = aligned_alloc(4096, bytes);
        assert_non_null(desk);
        memset(desk, 0, bytes);
        for (int k = 0; k < RANKS; k++)
            ranks[k].desk[i] = desk;
    }
    for (int i = 0; i < RANKS; i++) {
        struct rank *r = &ranks[i];
        for (int k = 0; k < RANKS; k++)
            r->rank_of[k] = k;
        r->state = (uint64_t)i + 1;
        r->node = (struct dml__node){.share = &r->share,
                                     .rank = i,
                                     .size = RANKS,
                                     .rank_of = r->rank_of,
                                     .desk = r->desk,
                                     .signature = 77,
                                     .seen = r->seen};
    }
    return 0;
}

static int close_ranks(void **state)
{
    (void)state;
    for (int i = 0; i < RANKS; i++)
        free(ranks[0].desk[i]);
    return 0;
}

static void run_ranks(void *(*body)(void *))
{
    pthread_t threads[RANKS];
    for (int i = 0; i < RANKS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, body, &ranks[i]), 0);
    for (int i = 0; i < RANKS; i++)
        pthread_join(threads[i], NULL);
    unsigned long naps = 0;
    for (int i = 0; i < RANKS; i++) {
        assert_int_equal(ranks[i].wrong, 0);
        assert_int_equal(ranks[i].lost, 0);
        naps += ranks[i].naps;
    }
    assert_true(naps > 0);
}

/* Waits as wait.c does, without a limit but that of a lost wake-up. */
static void wait_until(struct rank *r, bool (*ready)(struct rank *, void *), void *arg)
{
    const struct timespec limit = {.tv_sec = 5};
    for (unsigned polls = draw(r, 4); !ready(r, arg); polls++) {
        if (polls < 3) {
            sched_yield();
            continue;
        }
        unsigned heard = dml__node_drowsy(&r->node);
        bool now = ready(r, arg);
        if (!now) {
            struct timespec begin, end;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            dml__node_sleep(&r->node, heard, &limit);
            clock_gettime(CLOCK_MONOTONIC, &end);
            r->naps++;
            r->lost += end.tv_sec - begin.tv_sec >= 4;
        }
        dml__node_awake(&r->node);
        if (now)
            return;
    }
}

/* ---- operations --------------------------------------------------------------------
 */

struct moment {
    unsigned long long n;
    enum dml__phase phase;
};

static bool may_enter(struct rank *r, void *moment)
{
    return dml__node_may_enter(&r->node, ((struct moment *)moment)->n);
}

static bool all_reached(struct rank *r, void *moment)
{
    const struct moment *m = moment;
    return dml__node_all_reached(&r->node, m->n, m->phase);
}

static char value(int rank, unsigned long long n, enum dml__phase phase)
{
    return (char)(n * 7 + (unsigned)rank * 3 + phase);
}

static void check_slots(struct rank *r, struct moment m, size_t bytes)
{
    for (int i = 0; i < RANKS; i++) {
        const char *slot = dml__node_slot(&r->node, i, m.n);
        const char *inlined = dml__node_post(&r->node, i, m.n)->inlined;
        char wanted = value(i, m.n, m.phase);
        r->wrong += slot[0] != wanted || slot[bytes - 1] != wanted;
        r->wrong += inlined[0] != value(i, m.n, DML__ENTERED);
    }
}

/* Every rank writes its slot and reads the others', in two phases where n is odd. */
static void *operate(void *rank)
{
    struct rank *r = rank;
    enum { BYTES = 3000 };
    for (int i = 0; i < OPERATIONS; i++) {
        struct moment m = {dml__node_begin(&r->node), DML__ENTERED};
        char *slot = dml__node_slot(&r->node, r->node.rank, m.n);
        wait_until(r, may_enter, &m);
        memset(slot, value(r->node.rank, m.n, m.phase), BYTES);
        dml__node_post(&r->node, r->node.rank, m.n)->inlined[0] =
            value(r->node.rank, m.n, m.phase);
        dml__node_reach(&r->node, m.n, m.phase);
        if (m.n % 2 == 0) { /* nobody waits at the end */
            wait_until(r, all_reached, &m);
            check_slots(r, m, BYTES);
            continue;
        }
        m.phase = DML__REDUCED; /* this rank's half of its own slot is its own */
        wait_until(r, all_reached, &(struct moment){m.n, DML__ENTERED});
        memset(slot, value(r->node.rank, m.n, m.phase), BYTES);
        dml__node_reach(&r->node, m.n, m.phase);
        wait_until(r, all_reached, &m);
        check_slots(r, m, BYTES);
    }
    return NULL;
}

static void test_operations(void **state)
{
    (void)state;
    run_ranks(operate);
}

/* ---- channels ----------------------------------------------------------------------
 */

struct message {
    struct dml__shm *shm;
    int peer;
    size_t bytes, done;
    unsigned char *data;
};

static bool send_some(struct rank *r, void *message)
{
    struct message *m = message;
    (void)r;
    size_t n = dml__shm_put(m->shm, m->peer, 5, m->data, m->bytes, m->done);
    m->done += n;
    return n > 0;
}

static bool receive_some(struct rank *r, void *message)
{
    struct message *m = message;
    size_t n = 0;
    const void *piece = dml__shm_peek(m->shm, m->peer, 5, m->bytes, m->done, &n);
    (void)r;
    if (piece == NULL)
        return false;
    memcpy(m->data + m->done, piece, n);
    dml__shm_release(m->shm, m->peer, n);
    m->done += n;
    return true;
}

/* Either, when this rank sends to its next and receives from the one before. */
static bool move(struct rank *r, void *both)
{
    struct message *m = both;
    bool moved = m[0].done < m[0].bytes && send_some(r, &m[0]);
    moved = (m[1].done < m[1].bytes && receive_some(r, &m[1])) || moved;
    return moved;
}

/* Messages round a ring, of sizes that all ranks know; the tenth is longer than a
 * channel. */
static void *pass_on(void *rank)
{
    struct rank *r = rank;
    struct dml__shm *shm = dml__shm_new(NULL, &r->node, RANKS);
    size_t most = 3 * DML__CHANNEL_BYTES;
    unsigned char *out = malloc(most), *in = malloc(most);
    for (unsigned i = 0; i < MESSAGES; i++) {
        size_t bytes = i % 100 == 10 ? most - 1 : 1 + i * 7919u % LONGEST;
        struct message both[2] = {
            {shm, (r->node.rank + 1) % RANKS, bytes, 0, out},
            {shm, (r->node.rank + RANKS - 1) % RANKS, bytes, 0, in}};
        memset(out, (int)(i + (unsigned)r->node.rank), bytes);
        while (both[0].done < bytes || both[1].done < bytes)
            wait_until(r, move, both);
        unsigned char wanted = (unsigned char)(i + (unsigned)both[1].peer);
        for (size_t k = 0; k<bytes; k += bytes> 8 ? bytes / 8 : 1)
            r->wrong += in[k] != wanted;
        r->wrong += in[bytes - 1] != wanted;
    }
    dml__shm_free(shm);
    free(out);
    free(in);
    return NULL;
}

static void test_channels(void **state)
{
    (void)state;
    run_ranks(pass_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_operations, open_ranks, close_ranks),
        cmocka_unit_test_setup_teardown(test_channels, open_ranks, close_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
