/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading Prometheus' text format; see promfile.c. */
#ifndef TOP_PROMFILE_H
#define TOP_PROMFILE_H

#include <stdbool.h>
#include <stddef.h>

#define PROM_LABELS 32                 /* of one sample */
#define PROM_BYTES  ((size_t)16 << 20) /* of a file */
#define PROM_ERROR  256

struct prom_sample {
    const char *name;
    size_t nlabels;
    struct {
        const char *name, *value;
    } labels[PROM_LABELS];
    double value;
};

/* The value of a label; NULL: it has none of that name. */
const char *prom_label(const struct prom_sample *sample, const char *name);

/* Returns NULL, or why a sample is refused. It is valid during the call alone. */
typedef const char *prom_fn(void *user, const struct prom_sample *sample);

/* Reads text [bytes + 1], which ends in a zero and is changed. False: "line 3: ..." in
 * error; samples before it have been given away. */
bool prom_read(char *text, size_t bytes, prom_fn *take, void *user,
               char error[PROM_ERROR]);

/* The same of a file. */
bool prom_read_file(const char *path, prom_fn *take, void *user,
                    char error[PROM_ERROR]);

#endif
