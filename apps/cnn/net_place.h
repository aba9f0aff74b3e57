/* SPDX-License-Identifier: BSD-3-Clause */
/* Where a net's memory goes; see net_place.c. */
#ifndef CNN_NET_PLACE_H
#define CNN_NET_PLACE_H

#include "net.h"

dml_status net_place_memory(struct net *net);

#endif
