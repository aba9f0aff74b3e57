/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The TAP devices that wire.c joins: opening one in a host's namespace, and what a
 * frame read from it counts on a wire.
 */
#ifndef WIRE_TAP_H
#define WIRE_TAP_H

#include <stddef.h>

/* Bytes that TAP puts before each frame: struct virtio_net_hdr. */
enum { TAP_HEADER_BYTES = 10 };

/* Opens device "name" of the network namespace "path", or ends the program with a
 * message. offload: frames of up to 64 KiB may come, which stand for many packets. */
int tap_open(const char *path, const char *name, int offload);

/* Bytes of the packets that a frame of "bytes" stands for, with all their headers. */
double tap_wire_bytes(const unsigned char *frame, size_t bytes);

#endif
