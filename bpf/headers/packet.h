//go:build ignore
/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of packets, as far as the program reads them, in network byte order. */
#ifndef SPEADX_PACKET_H
#define SPEADX_PACKET_H

#include "kernel.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_VLAN 0x8100    /* IEEE 802.1Q, customer tag */
#define ETHERTYPE_SERVICE 0x88a8 /* IEEE 802.1ad, service tag */
#define ETHERTYPE_IPV6 0x86dd

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
};

struct vlan {
	__be16 tag;
	__be16 type; /* of what follows the tag */
};

#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6_FRAGMENT 44

/* RFC 791 */
struct ipv4 {
	__u8 version_words; /* version; length of the header in 32-bit words */
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment; /* IPV4_MORE and IPV4_OFFSET */
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

#define IPV4_MORE 0x2000
#define IPV4_OFFSET 0x1fff

/* RFC 8200 */
struct ipv6 {
	__be32 version_class_flow;
	__be16 payload_length;
	__u8 next;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

/* RFC 8200, section 4.5 */
struct ipv6_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* IPV6_OFFSET, and whether more follow */
	__be32 id;
};

#define IPV6_OFFSET 0xfff8

/* RFC 768 */
struct udp {
	__be16 source;
	__be16 destination;
	__be16 length;
	__be16 checksum;
};

#endif
