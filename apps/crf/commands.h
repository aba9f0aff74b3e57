/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of dml-crf, and what each is given. */
#ifndef CRF_COMMANDS_H
#define CRF_COMMANDS_H

#include "../common/job.h"
#include "options.h"

struct crf_run {
    struct job *job;
    const struct crf_options *options;
    int threads;
};

/* Return a failure that all ranks have agreed on. */
#define CRF_TRY(call)                \
    do {                             \
        dml_status status_ = (call); \
        if (status_ != DML_OK)       \
            return status_;          \
    } while (0)

dml_status crf_train(const struct crf_run *run);
dml_status crf_tag(const struct crf_run *run);
dml_status crf_eval(const struct crf_run *run);
dml_status crf_dump(const struct crf_run *run);
dml_status crf_convert(const struct crf_run *run);

#endif
