/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tuning tables: rules that stand in lines of the text, or an error that names one.
 */
#include "collectives/table.h"
#include "core/core.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dml__rule *rules = NULL;
    size_t nrules = 0;
    char *text = malloc(size + 1);
    fuzz_require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    dml_status status = dml__table_parse(fuzz_ctx(), "a table", text, &rules, &nrules);
    if (status == DML_OK) {
        for (size_t i = 0; i < nrules; i++)
            fuzz_require(rules[i].line > 0 && rules[i].coll < DML_NCOLLS &&
                         rules[i].ranks.first <= rules[i].ranks.last &&
                         rules[i].bytes.first <= rules[i].bytes.last);
    } else {
        dml_error error;
        dml_ctx_last_error(fuzz_ctx(), &error);
        fuzz_require(strstr(error.text, "a table") != NULL);
    }
    dml__free(rules);
    free(text);
    return 0;
}
