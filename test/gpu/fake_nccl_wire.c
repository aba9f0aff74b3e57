/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of bytes from each rank to each; see fake_nccl_wire.h.
 */
#include "fake_nccl_wire.h"

#include <fcntl.h>
#include <sched.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16, HEADER = sizeof(uint64_t), CACHE_LINE = 64 };

/* Written by one thread, read by one. */
struct ring {
    alignas(CACHE_LINE) atomic_size_t written; /* bytes, ever */
    alignas(CACHE_LINE) atomic_size_t read;
    char bytes[ROOM];
};

struct segment {
    atomic_int joined;
    struct ring rings[]; /* [from][to] */
};

struct wire {
    struct segment *shared;
    size_t bytes;
    int rank, nranks;
};

struct wire *wire_open(const char *name, int rank, int nranks)
{
    struct wire *w = calloc(1, sizeof *w);
    int file = shm_open(name, O_RDWR | O_CREAT, 0600);
    void *memory = MAP_FAILED;
    size_t bytes =
        sizeof(struct segment) + (size_t)nranks * (size_t)nranks * sizeof(struct ring);
    if (file >= 0 && ftruncate(file, (off_t)bytes) == 0)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (w == NULL || memory == MAP_FAILED) {
        free(w);
        return NULL;
    }
    *w = (struct wire){memory, bytes, rank, nranks};
    if (atomic_fetch_add(&w->shared->joined, 1) + 1 == nranks)
        shm_unlink(name);
    return w;
}

void wire_close(struct wire *w)
{
    munmap(w->shared, w->bytes);
    free(w);
}

static struct ring *ring(const struct wire *w, int from, int to)
{
    return &w->shared->rings[(size_t)from * (size_t)w->nranks + (size_t)to];
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* At most n bytes into it; how many. */
static size_t put(struct ring *r, const char *data, size_t n)
{
    size_t at = atomic_load_explicit(&r->written, memory_order_relaxed);
    size_t room = ROOM - (at - atomic_load_explicit(&r->read, memory_order_acquire));
    n = least(least(n, room), ROOM - at % ROOM);
    if (n > 0)
        memcpy(r->bytes + at % ROOM, data, n);
    atomic_store_explicit(&r->written, at + n, memory_order_release);
    return n;
}

static size_t get(struct ring *r, char *data, size_t n)
{
    size_t at = atomic_load_explicit(&r->read, memory_order_relaxed);
    size_t there = atomic_load_explicit(&r->written, memory_order_acquire) - at;
    n = least(least(n, there), ROOM - at % ROOM);
    if (n > 0)
        memcpy(data, r->bytes + at % ROOM, n);
    atomic_store_explicit(&r->read, at + n, memory_order_release);
    return n;
}

/* The header is the length, byte by byte. */
static size_t move_header(struct ring *r, const struct wire_move *m)
{
    const uint64_t length = m->bytes;
    const size_t at = m->done;
    char bytes[HEADER];
    memcpy(bytes, &length, HEADER);
    if (m->sends)
        return put(r, bytes + at, HEADER - at);
    char got[HEADER];
    size_t n = get(r, got, HEADER - at);
    if (n > 0 && memcmp(got, bytes + at, n) != 0) {
        fprintf(stderr,
                "fake_nccl: a message from rank %d has not the %zu bytes that "
                "are wanted: the ranks' calls differ\n",
                m->peer, m->bytes);
        abort();
    }
    return n;
}

/* Moves what can be; whether that was anything. */
static bool advance(const struct wire *w, struct wire_move *m)
{
    struct ring *r = m->sends ? ring(w, w->rank, m->peer) : ring(w, m->peer, w->rank);
    size_t before = m->done;
    if (m->done < HEADER)
        m->done += move_header(r, m);
    if (m->done < HEADER)
        return m->done > before;
    size_t at = m->done - HEADER;
    if (at < m->bytes)
        m->done += m->sends ? put(r, m->data + at, m->bytes - at)
                            : get(r, m->data + at, m->bytes - at);
    return m->done > before;
}

static bool is_done(const struct wire_move *m)
{
    return m->done == m->bytes + HEADER;
}

/* Is it behind another message of the same ring? */
static bool waits(const struct wire_move *moves, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!is_done(&moves[k]) && moves[k].peer == moves[i].peer &&
            moves[k].sends == moves[i].sends)
            return true;
    return false;
}

bool wire_move(struct wire *w, struct wire_move *moves, size_t n,
               const atomic_bool *stop)
{
    enum { SPINS = 100, PAUSE_NS = 50000 };
    size_t left = n, idle = 0;
    while (left > 0) {
        bool moved = false;
        if (atomic_load(stop))
            return false;
        left = 0;
        for (size_t i = 0; i < n; i++) {
            if (!is_done(&moves[i]) && !waits(moves, i))
                moved = advance(w, &moves[i]) || moved;
            left += !is_done(&moves[i]);
        }
        idle = moved ? 0 : idle + 1;
        if (idle > SPINS)
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        else if (idle > 0)
            sched_yield();
    }
    return true;
}
