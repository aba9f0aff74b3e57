/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TAP devices with segmentation offload (wire_tap.h): whole frames of up to 64 KiB
 * pass, because handling each packet of 1500 bytes would cost the processor that the
 * ranks of a simulated cluster need.
 */
#include "wire_tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

_Static_assert(sizeof(struct virtio_net_hdr) == TAP_HEADER_BYTES, "header of TAP");

static void refuse(const char *what)
{
    perror(what);
    exit(1);
}

int tap_open(const char *path, const char *name, int offload)
{
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int away = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || away < 0 || setns(away, CLONE_NEWNET) != 0)
        refuse(path);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        refuse("/dev/net/tun");
    unsigned long offloads = offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
    if (ioctl(fd, TUNSETOFFLOAD, offloads) != 0)
        refuse("TUNSETOFFLOAD");
    if (setns(home, CLONE_NEWNET) != 0)
        refuse("setns");
    close(away);
    close(home);
    return fd;
}

/* Bytes of the Ethernet, IP and TCP headers, or 0 where it is something else. */
static size_t header_bytes(const unsigned char *ethernet, size_t bytes)
{
    const size_t ethernet_bytes = 14, ipv6_bytes = 40;
    size_t tcp_at = 0;
    if (ethernet[12] == 0x08 && ethernet[13] == 0x00)
        tcp_at = ethernet_bytes + (ethernet[14] & 15u) * 4u;
    else if (ethernet[12] == 0x86 && ethernet[13] == 0xdd)
        tcp_at = ethernet_bytes + ipv6_bytes;
    if (tcp_at == 0 || tcp_at + 20 > bytes)
        return 0;
    return tcp_at + (size_t)(ethernet[tcp_at + 12] >> 4) * 4;
}

double tap_wire_bytes(const unsigned char *frame, size_t bytes)
{
    struct virtio_net_hdr offload;
    memcpy(&offload, frame, sizeof offload);
    size_t inner = bytes - sizeof offload;
    if (offload.gso_type == VIRTIO_NET_HDR_GSO_NONE || offload.gso_size == 0)
        return (double)inner;
    size_t header = header_bytes(frame + sizeof offload, inner);
    if (header == 0 || header >= inner)
        return (double)inner;
    size_t payload = inner - header;
    size_t packets = (payload + offload.gso_size - 1) / offload.gso_size;
    return (double)(payload + packets * header);
}
