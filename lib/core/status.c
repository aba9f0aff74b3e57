/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names and texts of status codes, element types and operations, from their tables.
 */
#include "dml/status.h"

#include "dml/types.h"

const char *dml_status_str(dml_status status)
{
    switch (status) {
#define CASE(name, number, text) \
    case DML_##name:             \
        return text;
        DML_STATUS_MAP(CASE)
#undef CASE
    }
    return "unknown status";
}

const char *dml_status_name(dml_status status)
{
    switch (status) {
#define CASE(name, number, text) \
    case DML_##name:             \
        return "DML_" #name;
        DML_STATUS_MAP(CASE)
#undef CASE
    }
    return "DML_?";
}

size_t dml_dtype_bytes(dml_dtype dtype)
{
    switch (dtype) {
#define CASE(NAME, number, name, bytes) \
    case DML_##NAME:                    \
        return bytes;
        DML_DTYPE_MAP(CASE)
#undef CASE
    }
    return 0;
}

const char *dml_dtype_name(dml_dtype dtype)
{
    switch (dtype) {
#define CASE(NAME, number, name, bytes) \
    case DML_##NAME:                    \
        return name;
        DML_DTYPE_MAP(CASE)
#undef CASE
    }
    return "?";
}

const char *dml_op_name(dml_op op)
{
    static const char *const names[] = {
#define NAME(NAME_, number, name) [number] = (name),
        DML_OP_MAP(NAME)
#undef NAME
    };
    if ((int)op < 0)
        return "?";
    return (int)op < DML_NOPS ? names[op] : "premul_sum";
}
