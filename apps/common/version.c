/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Versions of a program and of what it runs on; see version.h.
 */
#include "version.h"

#include "dml/dml.h"
#include "dml/mpi.h"

#include <stdio.h>
#include <string.h>

#ifdef APPS_CUDA
#define CUDA "with CUDA"
#else
#define CUDA "without CUDA"
#endif

/* "Open MPI v4.1.4, package: ...", "MPICH Version:\t4.0.2\nMPICH Release date: ..." */
static void mpi_version(char text[MPI_MAX_LIBRARY_VERSION_STRING])
{
    int length = 0;
    MPI_Get_library_version(text, &length); /* may be called at any time */
    text[strcspn(text, ",\n")] = '\0';
    for (char *at = text; (at = strpbrk(at, ":\t"));)
        if (*at == ':')
            memmove(at, at + 1, strlen(at));
        else
            *at = ' ';
}

void version_print(const char *app)
{
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    mpi_version(mpi);
    printf("%s %d.%d.%d\nlibdml %s, %s, %s\n", app, DML_VERSION_MAJOR,
           DML_VERSION_MINOR, DML_VERSION_PATCH, dml_version(), mpi, CUDA);
}
