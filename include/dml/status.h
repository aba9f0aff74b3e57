/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file status.h
 * Status codes: one table, from which the enum, the names and the texts are made.
 *
 * Every fallible call returns a dml_status: zero is success, a positive value is
 * information, a negative one an error. Out-parameters are written on success only.
 * What went wrong in detail is kept by the context: see dml_ctx_last_error().
 *
 * Three kinds of trouble are told apart. Misuse that can be seen in the arguments is
 * DML_EINVAL or DML_EUNSUPPORTED and leaves the library as it was. Trouble of the
 * outside world (a file, a peer, memory) is one of the others. A bug in libdml itself
 * stops a debug build at an assertion.
 */
#ifndef DML_STATUS_H
#define DML_STATUS_H

#include "dml/types.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** X(name, number, text): numbers are never reused. */
#define DML_STATUS_MAP(X)                                         \
    X(OK, 0, "success")                                           \
    X(PENDING, 1, "still in progress")                            \
    X(EINVAL, -1, "invalid argument")                             \
    X(ENOMEM, -2, "out of memory")                                \
    X(ECOMM, -3, "message passing failed")                        \
    X(EIO, -4, "input or output failed")                          \
    X(EFORMAT, -5, "malformed file")                              \
    X(EMISMATCH, -6, "ranks disagree")                            \
    X(EUNSUPPORTED, -7, "not supported here")                     \
    X(ELAUNCH, -8, "launched by another MPI than the one linked") \
    X(ENUMERIC, -9, "not a finite number")                        \
    X(EEND, -10, "no more data")                                  \
    X(ETIMEOUT, -11, "a rank is missing or stuck")                \
    X(EPEER, -12, "a rank has ended")

typedef enum dml_status {
#define DML_STATUS_ENUM(name, number, text) DML_##name = (number),
    DML_STATUS_MAP(DML_STATUS_ENUM)
#undef DML_STATUS_ENUM
} dml_status;

/** What the last failed call on a context found. */
typedef struct dml_error {
    dml_status status; /**< DML_OK when nothing has failed yet. */
    int rank;          /**< Rank that noticed it, or -1 outside a communicator. */
    int64_t seen;      /**< Value found, where there is one; else 0. */
    int64_t expected;  /**< Value that was needed, where there is one; else 0. */
    char where[48];    /**< Public function that failed. */
    char text[448];    /**< One line: what, where, what to do. No newline. */
} dml_error;

/**
 * Text of a status code, such as "invalid argument".
 * Not collective. @return a static string; "unknown status" for other numbers.
 * Threads: any.  @since 0.1
 */
DML_API const char *dml_status_str(dml_status status);

/**
 * Name of a status code, such as "DML_EINVAL".
 * Not collective. @return a static string; "DML_?" for other numbers.
 * Threads: any.  @since 0.1
 */
DML_API const char *dml_status_name(dml_status status);

#ifdef __cplusplus
}
#endif
#endif
