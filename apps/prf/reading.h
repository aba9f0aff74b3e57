/* SPDX-License-Identifier: BSD-3-Clause */
/* Files to binned rows; see reading.c. */
#ifndef PRF_READING_H
#define PRF_READING_H

#include "dataset.h"

/* A file with rows to train on, to test with, or both. */
struct reading_file {
    struct raw_source source;
    struct raw raw;
    bool complete; /* raw has kept all cells: no second walk is needed */
};

/* What the leader of a group reads. */
struct reading {
    const struct prf_options *options;
    char path[PRF_PATH];
    struct reading_file train, test; /* test: where its rows are in another file */
    bool test_apart;
    size_t ntrain, ntest; /* rows with a label */
};

/* Standard input can be read once, by rank 0: can it hold what the options say, where
 * "nreaders" ranks read the files? The same on all ranks. */
dml_status reading_check(struct job *job, const struct prf_options *options,
                         int nreaders);

/* Walk over the training file, and make the schema: of the columns first .. first +
 * width - 1 where a group's part of them is "part" of "nparts". */
dml_status reading_survey(struct job *job, const struct prf_options *options, int part,
                          int nparts, struct reading *in, struct schema *schema);

/* Walk over the test file, if there is one. */
dml_status reading_survey_test(struct job *job, const struct schema *schema,
                               struct reading *in);

/* Bins, labels and weights of the rows that belong to the parts [nparts] of the data
 * set, each with memory of its own. */
dml_status reading_fill(struct job *job, struct reading *in,
                        const struct schema *schema, const struct dataset *part,
                        size_t nparts);

void reading_free(struct reading *in);

#endif
