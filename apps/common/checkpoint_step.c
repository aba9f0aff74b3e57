/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every application does with its snapshots between two steps, and before the
 * first one; see checkpoint.h.
 */
#include "checkpoint.h"

#include <stdlib.h>

#define CURVE_SECTION "curve"

/* ---- the curve --------------------------------------------------------------------
 */

/* The curve so far; rank 0 has it. */
static dml_status save_curve(struct checkpoint *checkpoint, const struct outfile *curve)
{
    struct job *job = checkpoint->job;
    if (!curve)
        return DML_OK;
    if (curve->file && fflush(curve->file) != 0)
        return job_fail(job, DML_ENOMEM, "out of memory for the curve");
    return job_note(job, dml_ckpt_add_shared(checkpoint->writer, CURVE_SECTION,
                                             curve->file ? curve->text : "",
                                             curve->file ? curve->bytes : 0));
}

static dml_status load_curve(struct job *job, const dml_snapshot *snapshot,
                             struct outfile *curve)
{
    dml_section_info section;
    if (!curve || !curve->file)
        return DML_OK;
    dml_status status =
        job_note(job, dml_snapshot_find(snapshot, CURVE_SECTION, 0, &section));
    if (status != DML_OK)
        return status;
    size_t bytes = (size_t)section.count;
    char *text = malloc(bytes + 1);
    if (!text)
        return job_fail(job, DML_ENOMEM, "out of memory for the curve");
    status =
        job_note(job, dml_snapshot_get_shared(snapshot, CURVE_SECTION, text, bytes));
    if (status == DML_OK && fwrite(text, 1, bytes, curve->file) != bytes)
        status = job_fail(job, DML_ENOMEM, "out of memory for the curve");
    free(text);
    return status;
}

/* ---- before the first step --------------------------------------------------------
 */

dml_status checkpoint_go_on(const struct checkpoint *checkpoint,
                            const struct checkpoint_parts *parts,
                            const dml_snapshot *snapshot)
{
    struct job *job = checkpoint->job;
    dml_snapshot_info info;
    if (!snapshot && checkpoint->resume)
        progress_line(parts->progress, "no snapshot is there: starts anew");
    if (!snapshot)
        return DML_OK;
    dml_status status = job_agree(job, load_curve(job, snapshot, parts->curve));
    dml_snapshot_get_info(snapshot, &info);
    if (status == DML_OK)
        progress_line(parts->progress, "goes on after step %llu, from %s",
                      (unsigned long long)info.step, info.path);
    return status;
}

/* ---- between two steps ------------------------------------------------------------
 */

static dml_status save(struct checkpoint *checkpoint,
                       const struct checkpoint_parts *parts, uint64_t step)
{
    struct job *job = checkpoint->job;
    dml_status status = job_agree(
        job, checkpoint_begin(checkpoint, step, parts->command, parts->values));
    if (status == DML_OK)
        status = job_agree(job, save_curve(checkpoint, parts->curve));
    if (status == DML_OK)
        status = parts->save(parts->user, checkpoint->writer);
    if (status == DML_OK)
        status = job_agree(job, checkpoint_commit(checkpoint));
    return status;
}

dml_status checkpoint_after_step(struct checkpoint *checkpoint,
                                 const struct checkpoint_parts *parts, uint64_t step,
                                 bool *stop)
{
    bool due;
    dml_status status = checkpoint_poll(checkpoint, step, &due, stop);
    if (status == DML_OK && due)
        status = save(checkpoint, parts, step);
    if (status != DML_OK || !*stop)
        return status;
    status = checkpoint_wait(checkpoint, true);
    if (status != DML_OK)
        return status;
    checkpoint->job->requeue = true;
    progress_line(parts->progress,
                  "stopped by a signal after step %llu; go on with --resume auto",
                  (unsigned long long)step);
    return DML_OK;
}

json_t *checkpoint_report(const struct checkpoint *checkpoint)
{
    dml_ckpt_stats stats;
    dml_ckpt_get_stats(checkpoint->writer, &stats);
    return json_pack("{s:I, s:I, s:f, s:f, s:I}", "committed",
                     (json_int_t)stats.committed, "failed", (json_int_t)stats.failed,
                     "held_up_seconds", checkpoint->seconds, "write_seconds",
                     stats.write_s, "bytes_per_rank", (json_int_t)stats.bytes);
}
