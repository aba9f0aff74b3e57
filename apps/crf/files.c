/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding data: files named one by one, or a folder whose files have train, dev and
 * test in their names.
 */
#include "files.h"

#include "../common/app.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const parts[] = {"train", "dev", "test"};

static char *part_path(struct files *files, int part)
{
    return part == 0 ? files->train : part == 1 ? files->dev : files->test;
}

static bool put_path(char *path, const char *folder, const char *name)
{
    int length = snprintf(path, FILES_PATH, "%s%s%s", folder, *folder ? "/" : "", name);
    return length < FILES_PATH;
}

/* Files of a folder that were not named already. */
static dml_status search_folder(struct files *files, struct job *job,
                                const char *folder)
{
    char names[3][FILES_PATH] = {"", "", ""};
    DIR *dir = opendir(folder);
    if (!dir)
        return job_fail(
            job, DML_EIO,
            "cannot read the folder %.300s: %s, nor is it in $DML_DATA; give "
            "--data DIR or --train FILE",
            folder, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir));)
        for (int part = 0; part < 3; part++) {
            const char *name = entry->d_name;
            if (!strstr(name, parts[part]) || name[0] == '.' || strstr(name, ".md"))
                continue;
            /* Of several, the first in the alphabet, on every rank. */
            if (names[part][0] == '\0' || strcmp(name, names[part]) < 0)
                put_path(names[part], "", name);
        }
    closedir(dir);
    for (int part = 0; part < 3; part++)
        if (names[part][0] && part_path(files, part)[0] == '\0' &&
            !put_path(part_path(files, part), folder, names[part]))
            return job_fail(job, DML_EINVAL, "%.300s: too long a path", folder);
    return DML_OK;
}

/* The folder of that name as it stands, in $DML_DATA, or in ../shared/data: the first
 * that is there. */
static bool find_folder(char *folder, const char *name)
{
    const char *const roots[] = {"", getenv("DML_DATA"), "../shared/data"};
    for (int i = 0; i < 3; i++) {
        if (!roots[i] || !put_path(folder, roots[i], name))
            continue;
        DIR *dir = opendir(folder);
        if (dir) {
            closedir(dir);
            return true;
        }
    }
    return false;
}

dml_status files_find(struct files *files, struct job *job,
                      const struct crf_options *options)
{
    const char *const named[] = {options->train, options->dev, options->test};
    char folder[FILES_PATH] = "";
    *files = (struct files){0};
    for (int part = 0; part < 3; part++)
        if (named[part] && !put_path(part_path(files, part), "", named[part]))
            return job_fail(job, DML_EINVAL, "--%s: too long a path", parts[part]);
    if (options->data && !find_folder(folder, options->data) &&
        !put_path(folder, "", options->data))
        return job_fail(job, DML_EINVAL, "--data: too long a path");
    if (!options->data && !options->train && !find_folder(folder, "conll2000"))
        return job_fail(
            job, DML_EIO,
            "no data: give --data DIR or --train FILE, or set DML_DATA to a "
            "folder that holds conll2000");
    if (folder[0])
        CRF_TRY(search_folder(files, job, folder));
    if (files->train[0] == '\0')
        return job_fail(
            job, DML_EIO,
            "no file in %.300s has \"train\" in its name; give --train FILE", folder);
    for (int part = 0; part < 3; part++)
        CRF_TRY(app_keep(job, &crf_train_command, options, part_path(files, part),
                         "part of the data"));
    return DML_OK;
}
