/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-prf reads of its state at --resume, of classes and of regression, with whole
 * tables and with rows that are shared out: it says what makes no sense, or goes on to
 * its end.
 */
#include "commands.h"
#include "going_on.h"

#include <string.h>

#define DATA "--data %s --trees 4 --seed 3 --test-every 4 --checkpoint-every 2 "

static const char table[] = "a,b,c,y,z\n"
                            "1,2,red,p,1.5\n3,,blue,q,2\n2,5,red,p,-1\n4,1,green,q,7\n"
                            ",3,red,r,0\n5,2,blue,p,3\n1,1,green,r,2.5\n2,2,red,q,1\n"
                            "7,4,blue,r,9\n3,3,red,p,4\n6,,green,q,-2\n2,6,blue,p,5\n";

static const char *const kinds[] = {
    "--label y",
    "--label z",
    "--label y --rows sharded",
    "--label z --rows sharded --importance permutation",
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static struct prf_options options;

static dml_status train(struct job *job)
{
    const struct prf_run run = {.job = job, .options = &options, .threads = 1};
    return prf_train(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char words[KINDS][1024];
    static const char *variants[KINDS];
    const char *path = fuzz_file("", (const uint8_t *)table, strlen(table));
    for (size_t i = 0; i < KINDS; i++) {
        snprintf(words[i], sizeof words[i], DATA "%s", path, kinds[i]);
        variants[i] = words[i];
    }
    const struct going_on app = {.command = &prf_train_command,
                                 .options = &options,
                                 .variants = variants,
                                 .nvariants = KINDS,
                                 .train = train};
    going_on_run(&app, data, size);
    return 0;
}
