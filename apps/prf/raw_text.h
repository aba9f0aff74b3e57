/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers of text for raw.c; see raw_text.c. */
#ifndef PRF_RAW_TEXT_H
#define PRF_RAW_TEXT_H

#include "raw.h"

/* Where the columns of an open table go. */
struct layout {
    dml_table *table;
    size_t ncolumns;
    size_t *feature; /* [ncolumns] number of the feature, or none */
    size_t label, weight;
};

/* An open file: a table, a libsvm file, or images. */
struct raw_reader {
    struct job *job;
    const struct raw_source *source;
    struct raw *raw;
    struct layout layout;
    dml_svm *svm;
    dml_images *images;
    dml_loader *loader;
    size_t left; /* images */
};

dml_status raw_open_table(struct raw_reader *reader);
dml_status raw_next_table(struct raw_reader *reader);
dml_status raw_open_libsvm(struct raw_reader *reader);
dml_status raw_next_libsvm(struct raw_reader *reader);

#endif
