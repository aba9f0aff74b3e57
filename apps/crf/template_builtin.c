/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Templates for common tasks, in the language of templates. "chunk" names its
 * attributes as the chunking example of CRFsuite does, so that models can be compared
 * feature by feature.
 */
#include "template.h"

static const struct template_builtin builtins[] = {
    {"chunk", "words and tags of columns 0 and 1 (CoNLL-2000)",
     "!outside skip\n!ends\n"
     "Uw[-2]=%x[-2,0]\nUw[-1]=%x[-1,0]\nUw[0]=%x[0,0]\nUw[1]=%x[1,0]\nUw[2]=%x[2,0]\n"
     "Uw[-1]|w[0]=%x[-1,0]|%x[0,0]\nUw[0]|w[1]=%x[0,0]|%x[1,0]\n"
     "Upos[-2]=%x[-2,1]\nUpos[-1]=%x[-1,1]\nUpos[0]=%x[0,1]\nUpos[1]=%x[1,1]\n"
     "Upos[2]=%x[2,1]\n"
     "Upos[-2]|pos[-1]=%x[-2,1]|%x[-1,1]\nUpos[-1]|pos[0]=%x[-1,1]|%x[0,1]\n"
     "Upos[0]|pos[1]=%x[0,1]|%x[1,1]\nUpos[1]|pos[2]=%x[1,1]|%x[2,1]\n"
     "Upos[-2]|pos[-1]|pos[0]=%x[-2,1]|%x[-1,1]|%x[0,1]\n"
     "Upos[-1]|pos[0]|pos[1]=%x[-1,1]|%x[0,1]|%x[1,1]\n"
     "Upos[0]|pos[1]|pos[2]=%x[0,1]|%x[1,1]|%x[2,1]\nB\n"},
    {"chunk-wide", "as chunk, with pairs of words and tags, suffixes and shapes",
     "!outside skip\n!ends\n"
     "Uw-2=%x[-2,0]\nUw-1=%x[-1,0]\nUw=%x[0,0]\nUw+1=%x[1,0]\nUw+2=%x[2,0]\n"
     "Uw-1,w=%x[-1,0]|%x[0,0]\nUw,w+1=%x[0,0]|%x[1,0]\n"
     "Ul=%l[0,0]\nUl-1=%l[-1,0]\nUl+1=%l[1,0]\n"
     "Ut-2=%x[-2,1]\nUt-1=%x[-1,1]\nUt=%x[0,1]\nUt+1=%x[1,1]\nUt+2=%x[2,1]\n"
     "Ut-2,t-1=%x[-2,1]|%x[-1,1]\nUt-1,t=%x[-1,1]|%x[0,1]\nUt,t+1=%x[0,1]|%x[1,1]\n"
     "Ut+1,t+2=%x[1,1]|%x[2,1]\nUt-2,t-1,t=%x[-2,1]|%x[-1,1]|%x[0,1]\n"
     "Ut-1,t,t+1=%x[-1,1]|%x[0,1]|%x[1,1]\nUt,t+1,t+2=%x[0,1]|%x[1,1]|%x[2,1]\n"
     "Ut-1,t,t+1,t+2=%x[-1,1]|%x[0,1]|%x[1,1]|%x[2,1]\n"
     "Ut-2..t+1=%x[-2,1]|%x[-1,1]|%x[0,1]|%x[1,1]\n"
     "Uw,t=%x[0,0]|%x[0,1]\nUw,t+1=%x[0,0]|%x[1,1]\nUw,t-1=%x[0,0]|%x[-1,1]\n"
     "Ut,w+1=%x[0,1]|%x[1,0]\nUw-1,t=%x[-1,0]|%x[0,1]\n"
     "Us2=%s[0,0,2]\nUs3=%s[0,0,3]\nUh=%h[0,0]\nUh-1,h=%h[-1,0]|%h[0,0]\n"
     "Uh,h+1=%h[0,0]|%h[1,0]\nB\n"},
    {"tag", "words of column 1, their beginnings and ends (CoNLL-U)",
     "!ends\n"
     "Uw-2=%l[-2,1]\nUw-1=%l[-1,1]\nUw=%x[0,1]\nUl=%l[0,1]\nUw+1=%l[1,1]\n"
     "Uw+2=%l[2,1]\nUw-1,w=%l[-1,1]|%l[0,1]\nUw,w+1=%l[0,1]|%l[1,1]\n"
     "Up1=%p[0,1,1]\nUp2=%p[0,1,2]\nUp3=%p[0,1,3]\nUp4=%p[0,1,4]\n"
     "Us1=%s[0,1,1]\nUs2=%s[0,1,2]\nUs3=%s[0,1,3]\nUs4=%s[0,1,4]\n"
     "Uh=%h[0,1]\nUh-1=%h[-1,1]\nUh+1=%h[1,1]\nUs3-1=%s[-1,1,3]\nUs3+1=%s[1,1,3]\nB\n"},
    {"word", "words of column 0, their beginnings, ends and shapes",
     "!ends\n"
     "Uw-2=%l[-2,0]\nUw-1=%l[-1,0]\nUw=%x[0,0]\nUl=%l[0,0]\nUw+1=%l[1,0]\n"
     "Uw+2=%l[2,0]\nUw-1,w=%l[-1,0]|%l[0,0]\nUw,w+1=%l[0,0]|%l[1,0]\n"
     "Up1=%p[0,0,1]\nUp2=%p[0,0,2]\nUp3=%p[0,0,3]\nUp4=%p[0,0,4]\n"
     "Us1=%s[0,0,1]\nUs2=%s[0,0,2]\nUs3=%s[0,0,3]\nUs4=%s[0,0,4]\n"
     "Uh=%h[0,0]\nUh-1=%h[-1,0]\nUh+1=%h[1,0]\nUh-1,h=%h[-1,0]|%h[0,0]\n"
     "Uh,h+1=%h[0,0]|%h[1,0]\nB\n"},
};

const struct template_builtin *template_builtin(size_t i)
{
    return i < sizeof builtins / sizeof builtins[0] ? &builtins[i] : NULL;
}
