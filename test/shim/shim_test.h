/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of test_shim share. The program is an ordinary MPI program: it knows
 * nothing of libdml, and passes with and without libdml-mpi.so preloaded. Its oracle is
 * MPI itself by the names PMPI_*, which are never replaced.
 */
#ifndef SHIM_TEST_H
#define SHIM_TEST_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>

/* Cases are collective over comm; all run on several communicators. */
typedef void shim_case_fn(MPI_Comm comm);

/* Record a failure of this rank unless the condition holds. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void shim_check(bool condition, const char *format, ...);

/* Numbers from the printed seed, equal on ranks that draw alike. */
unsigned shim_random(void);

/* Zeroed memory, or the job ends. Free with free(). */
void *shim_alloc(size_t bytes);

/* shim_values.c */
shim_case_fn test_allreduce, test_reduce, test_reduce_scatter, test_not_ours;
/* shim_moves.c */
shim_case_fn test_bcast, test_allgather, test_allgatherv, test_bottom;
/* shim_rules.c */
shim_case_fn test_errors, test_attributes, test_inter, test_threads, test_progress,
    test_barrier, test_nonblocking, test_many;
/* shim_faults.c */
shim_case_fn test_faults;
/* shim_async.c */
shim_case_fn test_outstanding, test_freed, test_mixed, test_elsewhere, test_siblings,
    test_async_threads;

#endif
