/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model files.
 *
 * Little endian; text is a u32 length and so many bytes; numbers are u32 and IEEE f32:
 *
 *     "DMLCNN\r\n"  version = 1  net (text)  channels height width classes
 *     mean[channels] stddev[channels]          a pixel becomes (byte/255 - mean)/stddev
 *     nparams, each:  name (text)  ndims  dims[ndims]  values in row-major order
 *     nstates, each:  name (text)  count  values
 *     CRC-32 (zlib's) of all bytes before
 */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MAGIC       "DMLCNN\r\n"
#define MAGIC_BYTES 8
#define VERSION     1u
#define MAX_BYTES   ((size_t)1 << 31) /* far above any net here */

/* ---- writing -------------------------------------------------------------------- */

struct writer {
    FILE *file;
    uLong crc;
    bool failed;
};

static void put_bytes(struct writer *writer, const void *bytes, size_t count)
{
    writer->crc = crc32_z(writer->crc, bytes, count);
    if (fwrite(bytes, 1, count, writer->file) != count)
        writer->failed = true;
}

static void put_u32(struct writer *writer, uint32_t number)
{
    unsigned char bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
    put_bytes(writer, bytes, 4);
}

static void put_text(struct writer *writer, const char *text)
{
    put_u32(writer, (uint32_t)strlen(text));
    put_bytes(writer, text, strlen(text));
}

static void put_floats(struct writer *writer, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        put_u32(writer, bits);
    }
}

static dml_status put_params(struct writer *writer, struct net *net)
{
    put_u32(writer, (uint32_t)net->nparams);
    for (int i = 0; i < net->nparams; i++) {
        const struct param *param = &net->params[i];
        float *plain = malloc(param->count * sizeof *plain);
        if (!plain)
            return DML_ENOMEM;
        dml_status status = net_get_param(net, i, plain);
        put_text(writer, param->name);
        put_u32(writer, (uint32_t)param->ndims);
        for (int d = 0; d < param->ndims; d++)
            put_u32(writer, (uint32_t)param->dims[d]);
        put_floats(writer, plain, param->count);
        free(plain);
        if (status != DML_OK)
            return status;
    }
    return DML_OK;
}

dml_status model_write(FILE *file, struct net *net, const struct model_info *info,
                       char *error, size_t error_bytes)
{
    struct writer writer = {.file = file, .crc = crc32_z(0, NULL, 0)};
    put_bytes(&writer, MAGIC, MAGIC_BYTES);
    put_u32(&writer, VERSION);
    put_text(&writer, info->net);
    put_u32(&writer, (uint32_t)info->shape.channels);
    put_u32(&writer, (uint32_t)info->shape.height);
    put_u32(&writer, (uint32_t)info->shape.width);
    put_u32(&writer, (uint32_t)info->shape.classes);
    put_floats(&writer, info->mean, info->shape.channels);
    put_floats(&writer, info->stddev, info->shape.channels);
    dml_status status = put_params(&writer, net);
    put_u32(&writer, (uint32_t)net->nstates);
    for (int i = 0; i < net->nstates; i++) {
        const struct state *state = &net->states[i];
        put_text(&writer, state->name);
        put_u32(&writer, (uint32_t)state->count);
        put_floats(&writer, net->state_data + state->offset, state->count);
    }
    put_u32(&writer, (uint32_t)writer.crc);
    if (status == DML_OK && writer.failed)
        status = DML_EIO;
    if (status != DML_OK)
        snprintf(error, error_bytes, "cannot write the model: %s",
                 dml_status_str(status));
    return status;
}

/* ---- reading -------------------------------------------------------------------- */

static dml_status malformed(const struct model *model, const char *what, char *error,
                            size_t error_bytes)
{
    snprintf(error, error_bytes,
             "%.300s: not a usable model file: %s; write it anew with dml-cnn train "
             "--model",
             model->path, what);
    return DML_EFORMAT;
}

/* Past the end a number reads as 0, and the cursor stays beyond: see good(). */
static uint32_t get_u32(struct model *model)
{
    uint32_t number = 0;
    if (model->at + 4 > model->size) {
        model->at = model->size + 1;
        return 0;
    }
    for (int i = 0; i < 4; i++)
        number |= (uint32_t)model->bytes[model->at + (size_t)i] << (8 * i);
    model->at += 4;
    return number;
}

static bool good(const struct model *model)
{
    return model->at <= model->size;
}

static void get_text(struct model *model, char *text, size_t room)
{
    size_t length = get_u32(model);
    text[0] = '\0';
    if (!good(model) || length >= room || length > model->size - model->at) {
        model->at = model->size + 1;
        return;
    }
    memcpy(text, model->bytes + model->at, length);
    text[length] = '\0';
    model->at += length;
}

static void get_floats(struct model *model, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = get_u32(model);
        memcpy(&values[i], &bits, 4);
    }
}

/* Not blocking, and regular files only: a pipe without a writer is not waited for. */
static FILE *open_file(const char *path, size_t *size)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    int code = 0;
    if (fstat(fd, &info) != 0)
        code = errno;
    else if (S_ISDIR(info.st_mode))
        code = EISDIR;
    else if (!S_ISREG(info.st_mode))
        code = EINVAL;
    else if ((uint64_t)info.st_size > MAX_BYTES)
        code = EFBIG;
    FILE *file = code == 0 ? fdopen(fd, "rb") : NULL;
    if (file) {
        *size = (size_t)info.st_size;
        return file;
    }
    close(fd);
    errno = code != 0 ? code : ENOMEM;
    return NULL;
}

static dml_status read_file(struct model *model, char *error, size_t error_bytes)
{
    size_t size = 0;
    FILE *file = open_file(model->path, &size);
    bool good = false;
    if (file) {
        model->bytes = malloc(size + 1);
        if (model->bytes)
            model->size = fread(model->bytes, 1, size, file);
        good = model->bytes && model->size == size;
    }
    if (!good)
        snprintf(error, error_bytes,
                 "cannot read the model %.300s: %s; give --model a file written by "
                 "dml-cnn train",
                 model->path, strerror(errno));
    if (file)
        fclose(file);
    return good ? DML_OK : DML_EIO;
}

static dml_status read_header(struct model *model, char *error, size_t error_bytes)
{
    if (model->size < MAGIC_BYTES + 8 || memcmp(model->bytes, MAGIC, MAGIC_BYTES) != 0)
        return malformed(model, "wrong first bytes", error, error_bytes);
    model->at = model->size - 4;
    uint32_t stored = get_u32(model);
    model->size -= 4;
    if (stored != (uint32_t)crc32_z(crc32_z(0, NULL, 0), model->bytes, model->size))
        return malformed(model, "its checksum is wrong (cut short or damaged)", error,
                         error_bytes);
    model->at = MAGIC_BYTES;
    if (get_u32(model) != VERSION)
        return malformed(model, "written by another version", error, error_bytes);
    struct model_info *info = &model->info;
    get_text(model, info->net, sizeof info->net);
    info->shape.channels = get_u32(model);
    info->shape.height = get_u32(model);
    info->shape.width = get_u32(model);
    info->shape.classes = get_u32(model);
    if (!good(model) || info->shape.channels == 0 ||
        info->shape.channels > MODEL_MAX_CHANNELS)
        return malformed(model, "a bad header", error, error_bytes);
    get_floats(model, info->mean, info->shape.channels);
    get_floats(model, info->stddev, info->shape.channels);
    return good(model) ? DML_OK : malformed(model, "a bad header", error, error_bytes);
}

dml_status model_open(const char *path, struct model *model, char *error,
                      size_t error_bytes)
{
    *model = (struct model){.path = path};
    dml_status status = read_file(model, error, error_bytes);
    return status == DML_OK ? read_header(model, error, error_bytes) : status;
}

static dml_status load_param(struct model *model, struct net *net, int i)
{
    const struct param *param = &net->params[i];
    char name[sizeof param->name];
    get_text(model, name, sizeof name);
    bool same =
        strcmp(name, param->name) == 0 && get_u32(model) == (uint32_t)param->ndims;
    for (int d = 0; d < param->ndims; d++)
        same = same && get_u32(model) == (uint32_t)param->dims[d];
    if (!same || !good(model))
        return DML_EFORMAT;
    float *plain = malloc(param->count * sizeof *plain);
    if (!plain)
        return DML_ENOMEM;
    get_floats(model, plain, param->count);
    dml_status status = net_set_param(net, i, plain);
    free(plain);
    return status;
}

static dml_status load_state(struct model *model, struct net *net, int i)
{
    const struct state *state = &net->states[i];
    char name[sizeof state->name];
    get_text(model, name, sizeof name);
    if (strcmp(name, state->name) != 0 || get_u32(model) != (uint32_t)state->count)
        return DML_EFORMAT;
    get_floats(model, net->state_data + state->offset, state->count);
    return DML_OK;
}

dml_status model_load(struct model *model, struct net *net, char *error,
                      size_t error_bytes)
{
    dml_status status = DML_OK;
    if (get_u32(model) != (uint32_t)net->nparams)
        status = DML_EFORMAT;
    for (int i = 0; status == DML_OK && i < net->nparams; i++)
        status = load_param(model, net, i);
    if (status == DML_OK && get_u32(model) != (uint32_t)net->nstates)
        status = DML_EFORMAT;
    for (int i = 0; status == DML_OK && i < net->nstates; i++)
        status = load_state(model, net, i);
    if (status == DML_OK && model->at != model->size)
        status = DML_EFORMAT;
    if (status == DML_OK)
        status = net_push_state(net);
    if (status == DML_EFORMAT)
        return malformed(model, "its tensors are not those of the net it names", error,
                         error_bytes);
    if (status != DML_OK)
        snprintf(error, error_bytes, "cannot load the model: %s",
                 dml_status_str(status));
    return status;
}

void model_close(struct model *model)
{
    free(model->bytes);
    *model = (struct model){0};
}
