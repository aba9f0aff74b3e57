/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who the other ranks are: host and process, and whether a process of this machine is
 * alive. A process that has ended stays visible as a zombie until its launcher notices,
 * and its number may be given to another: the time of its start tells.
 */
#include "comm/loss.h"
#include "comm/roll.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Processes of which /proc is read each time: a millisecond's work. */
enum { READ_EACH_TIME = 32 };

/* State letter and start time of a process, from /proc; 'X' when there is none, '?'
 * when /proc is not to be had. */
static char process_state(long pid, uint64_t *started)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        bool gone = errno == ENOENT || errno == ESRCH;
        return gone && access("/proc/self/stat", R_OK) == 0 ? 'X' : '?';
    }
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    /* The name in parentheses may hold anything; 20 numbers follow the state. */
    const char *at = strrchr(text, ')');
    char state = '?';
    unsigned long long start = 0;
    if (at == NULL ||
        sscanf(
            at + 1,
            " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
            "%*s %llu",
            &state, &start) != 2)
        return n == 0 ? 'X' : '?';
    *started = start;
    return state;
}

dml_status dml__mates_open(struct dml__roll *roll)
{
    dml_comm *comm = roll->comm;
    struct dml__mate own = {.pid = (long)getpid()};
    struct stat space;
    MPI_Comm_rank(MPI_COMM_WORLD, &own.world);
    gethostname(own.host, sizeof own.host - 1);
    process_state(own.pid, &own.started);
    if (stat("/proc/self/ns/pid", &space) == 0)
        own.pidns = (uint64_t)space.st_ino;
    own.machine = comm->machine;
    int code = MPI_Allgather(&own, (int)sizeof own, MPI_BYTE, roll->mates,
                             (int)sizeof own, MPI_BYTE, comm->coll);
    return code == MPI_SUCCESS ? DML_OK : dml__mpi_fail(comm, "dml_comm", code);
}

/* Does its process number mean the same here? */
static bool is_near(const struct dml__roll *roll, const struct dml__mate *mate)
{
    const struct dml__mate *own = &roll->mates[roll->comm->rank];
    return mate->machine == own->machine && mate->pidns == own->pidns &&
           mate->pidns != 0;
}

/* Has the system forgotten it? Much cheaper than a look into /proc, and blind for one
 * that has ended but is still known. */
static bool is_gone(const struct dml__roll *roll, int rank)
{
    const struct dml__mate *mate = &roll->mates[rank];
    return is_near(roll, mate) && kill((pid_t)mate->pid, 0) != 0 && errno == ESRCH;
}

char dml__mate_state(const struct dml__roll *roll, int rank)
{
    const struct dml__mate *mate = &roll->mates[rank];
    uint64_t started = mate->started;
    if (!is_near(roll, mate))
        return '?';
    char state = process_state(mate->pid, &started);
    return started == mate->started ? state : 'X';
}

void dml__mate_name(const struct dml__roll *roll, int rank, char *text, size_t room)
{
    const struct dml__mate *mate = &roll->mates[rank];
    char world[32] = "";
    if (mate->world != rank)
        snprintf(world, sizeof world, "world rank %d, ", mate->world);
    snprintf(text, room, "rank %d (%shost %.40s, pid %ld)", rank, world, mate->host,
             mate->pid);
}

static bool has_died(const struct dml__roll *roll, int rank)
{
    char state = rank != roll->comm->rank ? dml__mate_state(roll, rank) : '?';
    return state == 'X' || state == 'Z';
}

/* The lowest rank of this machine that has ended, or -1. Another rank may have seen it
 * first and given the communicator up, before MPI here knows which one it is. */
static int find_dead(const struct dml__roll *roll)
{
    for (int rank = 0; rank < roll->comm->size; rank++)
        if (has_died(roll, rank))
            return rank;
    return -1;
}

/* rank: -1 where another rank knows which one it is. */
static void tell_end(const struct dml__roll *roll, int rank, char *text, size_t room)
{
    char name[128] = "a rank", what[160] = "a message";
    struct dml__op op;
    if (dml__roll_waits_in(roll, &op))
        dml__op_describe(&op, what, sizeof what);
    if (rank >= 0)
        dml__mate_name(roll, rank, name, sizeof name);
    snprintf(text, room, "%s has ended while other ranks wait for it in %s", name,
             what);
}

static dml_status has_ended(struct dml__roll *roll, int rank)
{
    char text[DML__VERDICT_BYTES];
    tell_end(roll, rank, text, sizeof text);
    return dml__roll_judge(roll, DML_EPEER, text);
}

dml_status dml__mates_lost(const dml_comm *comm, const char *where)
{
    char text[DML__VERDICT_BYTES] = "a rank has ended";
    int rank = dml__mpi_lost_rank(comm);
    if (comm->roll != NULL && comm->roll->mates != NULL) {
        if (rank < 0)
            rank = find_dead(comm->roll);
        tell_end(comm->roll, rank, text, sizeof text);
    }
    return dml__fail_values(comm->ctx, DML_EPEER, where, comm->rank, rank, 0, "%s",
                            text);
}

void dml__comm_peer_name(const dml_comm *comm, int rank, char *text, size_t room)
{
    dml__mate_name(comm->roll, rank, text, room);
}

dml_status dml__mates_alive(struct dml__roll *roll)
{
    int size = roll->comm->size;
    for (int rank = 0; rank < size; rank++)
        if (is_gone(roll, rank))
            return has_ended(roll, rank);
    for (int k = 0; k < READ_EACH_TIME && k < size; k++) {
        int rank = roll->next_pulse;
        roll->next_pulse = (rank + 1) % size;
        if (has_died(roll, rank))
            return has_ended(roll, rank);
    }
    if (roll->mute)
        return DML_OK;
    int lost = dml__mpi_lost_rank(roll->comm);
    if (lost >= 0)
        return has_ended(roll, lost);
    return dml__mpi_given_up(roll->comm) ? has_ended(roll, find_dead(roll)) : DML_OK;
}
