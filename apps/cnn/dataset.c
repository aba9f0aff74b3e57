/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds a data set in a folder and opens it: idx files in MNIST's names, CIFAR-10
 * binary files, or record files.
 */
#include "dataset.h"

#include "../common/app.h"
#include "onednn.h" /* CNN_TRY */

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 1024
#define MAX_FILES 64

static const char default_set[] = "fashion-mnist";

/* DIR/NAME or DIR/NAME.gz, whichever is there; else DIR/NAME and false. */
static bool find_file(const char *dir, const char *name, char path[PATH_ROOM])
{
    if (snprintf(path, PATH_ROOM, "%s/%s.gz", dir, name) >= PATH_ROOM)
        return false;
    if (access(path, F_OK) == 0)
        return true;
    path[strlen(path) - 3] = '\0';
    return access(path, F_OK) == 0;
}

static dml_status open_idx(struct job *job, const char *dir, const char *part,
                           dml_images **images)
{
    char image_path[PATH_ROOM], label_path[PATH_ROOM], name[64];
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
    (void)find_file(dir, name, image_path);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part);
    (void)find_file(dir, name, label_path);
    return job_note(job, dml_images_open_idx(job->ctx, image_path, label_path, images));
}

/* Names of the formats that may have several files, of the test and training set. */
static const struct format {
    const char *names[2][4];
    const char *text;
    dml_status (*open)(dml_ctx *ctx, const char *const *paths, size_t npaths,
                       dml_images **images);
} formats[] = {
    {{{"test_batch.bin", "test_batch.bin.gz", "*-test.bin", "*-test.bin.gz"},
      {"data_batch_*.bin", "data_batch_*.bin.gz", "*-train.bin", "*-train.bin.gz"}},
     "the CIFAR-10 format",
     dml_images_open_cifar10},
    {{{"test*.records", "test*.records.gz"}, {"train*.records", "train*.records.gz"}},
     "images in records",
     dml_images_open_records},
};
#define NFORMATS (sizeof formats / sizeof formats[0])

static dml_status open_files(struct job *job, const struct format *format,
                             glob_t *files, dml_images **images)
{
    size_t count = files->gl_pathc < MAX_FILES ? files->gl_pathc : MAX_FILES;
    const char *paths[MAX_FILES];
    for (size_t i = 0; i < count; i++)
        paths[i] = files->gl_pathv[i];
    return job_note(job, format->open(job->ctx, paths, count, images));
}

/* Files of a format by their usual names; sorted. */
static bool find_files(const struct format *format, const char *dir, bool train,
                       glob_t *files)
{
    char pattern[PATH_ROOM];
    for (int i = 0; i < 4 && format->names[train][i]; i++) {
        snprintf(pattern, sizeof pattern, "%s/%s", dir, format->names[train][i]);
        if (glob(pattern, 0, NULL, files) == 0)
            return true;
        globfree(files);
    }
    return false;
}

/* The format of which a folder has files; NULL if none. */
static const struct format *find_format(const char *dir)
{
    glob_t files;
    for (size_t i = 0; i < NFORMATS; i++)
        if (find_files(&formats[i], dir, true, &files) ||
            find_files(&formats[i], dir, false, &files)) {
            globfree(&files);
            return &formats[i];
        }
    return NULL;
}

static bool has_idx(const char *dir)
{
    char path[PATH_ROOM];
    return find_file(dir, "train-images-idx3-ubyte", path) ||
           find_file(dir, "t10k-images-idx3-ubyte", path);
}

/* Try one folder, and add it to the list of those looked at. */
static bool try_folder(const char *dir, char *looked, size_t looked_bytes)
{
    size_t used = strlen(looked);
    snprintf(looked + used, looked_bytes - used, "%s%s", used ? ", " : "", dir);
    return has_idx(dir) || find_format(dir);
}

/* A folder, or a data set's name below the usual places. */
static dml_status find_folder(struct job *job, const char *data, char dir[PATH_ROOM])
{
    char looked[CLI_TEXT / 2] = "";
    const char *set = data ? data : default_set;
    const char *env = getenv("DML_DATA");
    const char *const roots[] = {env, "../shared/data", "/usr/share/datasets"};
    snprintf(dir, PATH_ROOM, "%s", data ? data : env ? env : "");
    if (dir[0] && try_folder(dir, looked, sizeof looked))
        return DML_OK;
    for (size_t i = 0; i < 3; i++) {
        if (!roots[i] || (data && strchr(data, '/')))
            continue;
        snprintf(dir, PATH_ROOM, "%s/%s", roots[i], set);
        if (try_folder(dir, looked, sizeof looked))
            return DML_OK;
    }
    return job_fail(
        job, DML_EIO,
        "no idx, CIFAR-10 or record files found in: %s; give --data DIR, or install "
        "the package dataset-fashion-mnist",
        looked);
}

static dml_status open_part(struct job *job, const char *dir, bool train,
                            dml_images **images)
{
    glob_t files;
    if (has_idx(dir))
        return open_idx(job, dir, train ? "train" : "t10k", images);
    const struct format *format = find_format(dir);
    if (!find_files(format, dir, train, &files))
        return job_fail(job, DML_EIO, "%s has no %s files of %s", dir,
                        train ? "training" : "test", format->text);
    dml_status status = open_files(job, format, &files, images);
    globfree(&files);
    return status;
}

/* "synthetic:IMAGESxCxHxWxCLASSES": no files, images are made up. */
static const char made_up[] = "synthetic:";

static bool is_made_up(const char *data)
{
    return data && strncmp(data, made_up, sizeof made_up - 1) == 0;
}

static dml_status make_part(struct job *job, const char *data,
                            const dml_images_info *shape, uint32_t part,
                            dml_images **images)
{
    const dml_status status =
        job_note(job, dml_images_make(job->ctx, shape, 1, part, images));
    if (status != DML_ENOMEM)
        return status;
    return job_fail(job, status, "--data %.80s: %.300s; every rank holds all of them",
                    data, job->error);
}

static dml_status make_images(struct job *job, const char *data, bool with_train,
                              struct dataset *set)
{
    dml_images_info shape = {0};
    size_t *const numbers[] = {&shape.count, &shape.channels, &shape.height,
                               &shape.width, &shape.nclasses};
    const char *at = data + sizeof made_up - 1;
    static const struct {
        const char *name;
        unsigned long long most;
    } limits[] = {{"images", 1ull << 40},
                  {"channels", DATASET_MAX_CHANNELS},
                  {"height", 65536},
                  {"width", 65536},
                  {"classes", 65536}};
    for (int i = 0; i < 5; i++) {
        char *end = NULL;
        const bool digit = *at >= '0' && *at <= '9';
        const unsigned long long number = digit ? strtoull(at, &end, 10) : 0;
        if (number == 0 || *end != (i < 4 ? 'x' : '\0'))
            return job_fail(job, DML_EINVAL,
                            "--data %.80s: give images, channels, height, width and "
                            "classes, such as synthetic:1024x3x224x224x1000",
                            data);
        if (number > limits[i].most)
            return job_fail(job, DML_EINVAL, "--data %.80s: %s: at most %llu", data,
                            limits[i].name, limits[i].most);
        *numbers[i] = number;
        at = end + 1;
    }
    if (with_train)
        CNN_TRY(make_part(job, data, &shape, 0, &set->train));
    shape.count = shape.count / 4 + 1;
    return make_part(job, data, &shape, 1, &set->test);
}

/* The two parts must fit one net. */
static dml_status check_parts(struct job *job, const struct dataset *set)
{
    dml_images_info test;
    dml_images_get_info(set->test, &test);
    if (set->info.channels > DATASET_MAX_CHANNELS)
        return job_fail(job, DML_EUNSUPPORTED,
                        "images of %zu channels; at most %d are supported",
                        set->info.channels, DATASET_MAX_CHANNELS);
    if (test.channels != set->info.channels || test.height != set->info.height ||
        test.width != set->info.width)
        return job_fail(job, DML_EFORMAT,
                        "test images are %zu x %zu x %zu, training images %zu x %zu x "
                        "%zu: the two files are of different data sets",
                        test.channels, test.height, test.width, set->info.channels,
                        set->info.height, set->info.width);
    if (test.nclasses > set->info.nclasses)
        return job_fail(job, DML_EFORMAT,
                        "the test set has label %zu, but the training set's largest is "
                        "%zu: give the files of one data set",
                        test.nclasses - 1, set->info.nclasses - 1);
    return DML_OK;
}

static dml_status open_folder(struct job *job, const char *data, bool with_train,
                              struct dataset *set)
{
    char dir[PATH_ROOM];
    CNN_TRY(find_folder(job, data, dir));
    if (with_train)
        CNN_TRY(open_part(job, dir, true, &set->train));
    return open_part(job, dir, false, &set->test);
}

dml_status dataset_open(struct job *job, const char *data, bool with_train,
                        struct dataset *set)
{
    *set = (struct dataset){0};
    dml_status status = is_made_up(data) ? make_images(job, data, with_train, set)
                                         : open_folder(job, data, with_train, set);
    if (status != DML_OK)
        return status;
    dml_images_get_info(with_train ? set->train : set->test, &set->info);
    status = check_parts(job, set);
    if (status != DML_OK || !with_train)
        return status;
    dml_images_moments(set->train, set->mean, set->stddev);
    for (size_t c = 0; c < set->info.channels; c++)
        if (set->stddev[c] <= 0)
            set->stddev[c] = 1; /* a channel of one colour */
    return DML_OK;
}

static dml_status keep_all(struct job *job, const struct cli_command *command,
                           const struct cnn_options *options, const char *dir,
                           const char *pattern)
{
    char all[PATH_ROOM];
    glob_t files;
    dml_status status = DML_OK;
    if (snprintf(all, sizeof all, "%s/%s", dir, pattern) >= PATH_ROOM)
        return DML_OK; /* no file can have that name */
    if (glob(all, 0, NULL, &files) == 0)
        for (size_t i = 0; i < files.gl_pathc && status == DML_OK; i++)
            status =
                app_keep(job, command, options, files.gl_pathv[i], "part of the data");
    globfree(&files);
    return status;
}

dml_status dataset_keep(struct job *job, const struct cli_command *command,
                        const struct cnn_options *options)
{
    char dir[PATH_ROOM];
    if (is_made_up(options->data) || find_folder(job, options->data, dir) != DML_OK)
        return DML_OK; /* dataset_open() says it */
    dml_status status = keep_all(job, command, options, dir, "*-images-idx3-ubyte*");
    if (status == DML_OK)
        status = keep_all(job, command, options, dir, "*-labels-idx1-ubyte*");
    for (size_t i = 0; i < 2 * NFORMATS; i++) {
        const char *const *names = formats[i / 2].names[i % 2];
        for (int k = 0; k < 4 && names[k] && status == DML_OK; k++)
            status = keep_all(job, command, options, dir, names[k]);
    }
    return status;
}

void dataset_close(struct dataset *set)
{
    dml_images_destroy(set->train);
    dml_images_destroy(set->test);
    *set = (struct dataset){0};
}
