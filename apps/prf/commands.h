/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of dml-prf. */
#ifndef PRF_COMMANDS_H
#define PRF_COMMANDS_H

#include "options.h"

struct prf_run {
    struct job *job;
    const struct prf_options *options;
    int threads; /* of this rank */
};

/* Collective, agreed: on failure the line has been printed. */
dml_status prf_train(const struct prf_run *run);
dml_status prf_predict(const struct prf_run *run);
dml_status prf_info(const struct prf_run *run);
dml_status prf_export(const struct prf_run *run);

#endif
