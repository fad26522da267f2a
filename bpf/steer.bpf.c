//go:build ignore
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steers UDP packets for the receiver's endpoints to the AF_XDP socket of the
 * queue they arrived on. Everything else goes on to the kernel as if the program
 * were not there: other traffic, fragments, what cannot be parsed, and also the
 * endpoints' packets while their queue has no socket. Nothing is ever dropped
 * or changed here.
 *
 * Endpoints are matched by VLAN, destination address and port, as the headers say
 * them. The receiver judges lengths and checksums. So a damaged packet for an
 * endpoint is counted there and not lost to view.
 */
#include "kernel.h"
#include "packet.h"

/*
 * Set before loading, and a constant to the verifier: how many queues have a place
 * in xsks and in each CPU's counters.
 */
const volatile __u32 queues = 1;

/* Whether VLAN tags are overlooked. If not, an endpoint is of one VLAN or of none. */
const volatile __u32 any_vlan = 0;

/*
 * An endpoint. IPv4 addresses are IPv4-mapped IPv6 addresses (RFC 4291, section
 * 2.5.5.2); the address :: stands for any address of either family.
 *
 * A key is built on the stack, each word of 8 bytes by one store. Before Linux 6.13 the
 * verifier refuses a narrower store over a word that was written before, unless the
 * program's owner has CAP_PERFMON.
 */
struct endpoint {
	__be64 address[2];
	/*
	 * The port in network byte order in bits 0 to 15, the VLAN of the outer tag in
	 * bits 16 to 27 and that of the inner one in bits 32 to 43. A packet without a
	 * tag, or with one of VLAN 0, which is only a priority, has zeros there. So has
	 * one whose tag the NIC took off: the program cannot see it.
	 */
	__u64 port;
};

/*
 * Several receivers can share the program, each with queues and endpoints of its own. A
 * receiver is a number below OWNERS, and a set of receivers has a bit for each. Packets
 * for a receiver's endpoint reach it on its own queues; those on any other queue go on
 * to the kernel, and are counted for it.
 */
#define OWNERS 16

struct owners {
	__u32 set;
	__u32 first; /* one of the set */
};

/*
 * User space sets the sizes of the maps before loading. The set of endpoints
 * changes while the program runs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct endpoint);
	__type(value, struct owners);
} endpoints SEC(".maps");

/* The sockets, by queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/*
 * Each packet is counted once: here as matched, fragment or other, or else in strays;
 * no_socket is a part of matched. One cache line for each CPU and queue, at cpu * (queues + 1) +
 * queue, the last one of each CPU for queues that have no place in xsks. In
 * generic mode several CPUs may run one queue at once, but this CPU's slot is
 * written by nobody else while the program runs in its softirq: plain adds do.
 */
struct counters {
	__u64 matched;
	__u64 no_socket;
	__u64 fragments;
	__u64 other;
	__u64 owner; /* the receiver that has the queue, as a set; written by user space */
	__u64 unused[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counts SEC(".maps");

/*
 * Packets that came on a queue of another receiver than the endpoint's, or of none. At
 * queue * OWNERS + receiver, the last queue being those that have no place in xsks. All
 * CPUs share a slot: the additions are atomic, and such packets are not meant to be many.
 */
struct stray {
	__u64 matched;
	__u64 fragments;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stray);
} strays SEC(".maps");

/*
 * What a packet is. Without owners it is not for our endpoints, or not to be parsed. A
 * fragment is the first one of a datagram for our endpoints. Only the first one names the port, so
 * the others may be of any program's datagrams.
 */
struct kind {
	struct owners *owners;
	bool fragment;
};

#define OTHER ((struct kind){ 0, false })

/* address is a destination address: its 16 bytes as they are in memory. */
struct address {
	__be64 high, low;
};

/* pair is two words of 4 bytes as the 8 bytes that they are in memory. */
static __always_inline __be64 pair(__be32 first, __be32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u64)second << 32 | first;
#else
	return (__u64)first << 32 | second;
#endif
}

/*
 * known looks up the endpoint, and else its port at any address. vlans are those of the
 * packet, at their place in the key.
 */
static __always_inline struct owners *known(struct address a, __be16 port, __u64 vlans)
{
	struct endpoint own = { { a.high, a.low }, port | vlans };
	struct endpoint any = { { 0, 0 }, port | vlans };
	struct owners *o = bpf_map_lookup_elem(&endpoints, &own);

	return o ? o : bpf_map_lookup_elem(&endpoints, &any);
}

/* classify_udp looks at the UDP header of a packet to address a. */
static __always_inline struct kind classify_udp(void *data, void *end, struct address a, __u64 vlans)
{
	struct udp *udp = data;

	if ((void *)(udp + 1) > end || !udp->destination)
		return OTHER;
	return (struct kind){ known(a, udp->destination, vlans), false };
}

/*
 * classify_fragment is for any fragment of a UDP datagram. The first one has the
 * UDP header, at data. The others do not tell whose they are: they are not counted as ours.
 */
static __always_inline struct kind classify_fragment(void *data, void *end, struct address a, __u64 vlans,
                                                     bool first)
{
	if (!first)
		return OTHER;
	return (struct kind){ classify_udp(data, end, a, vlans).owners, true };
}

#define skip_word(data, words)       \
	do {                         \
		if (!words--)        \
			return data; \
		data += 4;           \
		keep_constant(data); \
	} while (0)

/*
 * skip_words steps over up to 10 words of IPv4 options. It is no loop, since
 * without CAP_PERFMON the verifier also follows the branches that are never
 * taken (Spectre), and with them does not come to the end of one.
 */
static __always_inline void *skip_words(void *data, __u32 words)
{
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	skip_word(data, words);
	return data;
}

static __always_inline struct kind classify_ipv4(void *data, void *end, __u64 vlans)
{
	struct ipv4 *ip = data;
	struct address a;
	__u32 words;

	if ((void *)(ip + 1) > end || ip->version_words >> 4 != 4)
		return OTHER;
	words = ip->version_words & 0xf;
	if (words < sizeof(*ip) / 4 || ip->protocol != PROTOCOL_UDP)
		return OTHER;
	a.high = 0;
	a.low = pair(bpf_htonl(0xffff), ip->destination);
	data = skip_words(ip + 1, words - sizeof(*ip) / 4);
	if (ip->fragment & bpf_htons(IPV4_MORE | IPV4_OFFSET))
		return classify_fragment(data, end, a, vlans, !(ip->fragment & bpf_htons(IPV4_OFFSET)));
	return classify_udp(data, end, a, vlans);
}

/*
 * Of the extension headers only a fragment header is followed, and only as the
 * first one. It makes a fragment also of a packet that is whole (RFC 6946).
 */
static __always_inline struct kind classify_ipv6(void *data, void *end, __u64 vlans)
{
	struct ipv6 *ip = data;
	struct ipv6_fragment *fragment;
	struct address a;

	if ((void *)(ip + 1) > end || (ip->version_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(6 << 28))
		return OTHER;
	a.high = pair(ip->destination[0], ip->destination[1]);
	a.low = pair(ip->destination[2], ip->destination[3]);
	data = ip + 1;
	if (ip->next == PROTOCOL_UDP)
		return classify_udp(data, end, a, vlans);
	if (ip->next != PROTOCOL_IPV6_FRAGMENT)
		return OTHER;
	fragment = data;
	if ((void *)(fragment + 1) > end || fragment->next != PROTOCOL_UDP)
		return OTHER;
	return classify_fragment(fragment + 1, end, a, vlans, !(fragment->offset & bpf_htons(IPV6_OFFSET)));
}

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETHERTYPE_VLAN) || type == bpf_htons(ETHERTYPE_SERVICE);
}

/* classify reads the headers, all of which lie in a packet's first buffer. */
static __always_inline struct kind classify(void *data, void *end)
{
	struct ethernet *eth = data;
	__u64 vlans = 0;
	__be16 type;

	if ((void *)(eth + 1) > end)
		return OTHER;
	type = eth->type;
	data = eth + 1;
#pragma unroll
	for (int i = 0; i < 2; i++) {
		struct vlan *vlan = data;

		if (!is_vlan(type))
			break;
		if ((void *)(vlan + 1) > end)
			return OTHER;
		type = vlan->type;
		if (!any_vlan)
			vlans |= (__u64)(bpf_htons(vlan->tag) & 0xfff) << (16 + 16 * i);
		data = vlan + 1;
	}
	if (type == bpf_htons(ETHERTYPE_IPV4))
		return classify_ipv4(data, end, vlans);
	if (type == bpf_htons(ETHERTYPE_IPV6))
		return classify_ipv6(data, end, vlans);
	return OTHER;
}

#define count(counter)                     \
	do {                               \
		__u64 *place = &(counter); \
		keep_constant(place);      \
		*place += 1;               \
	} while (0)

#define count_shared(counter)                   \
	do {                                    \
		__u64 *place = &(counter);      \
		keep_constant(place);           \
		__sync_fetch_and_add(place, 1); \
	} while (0)

/* stray counts a packet on a queue that is not its owner's. */
static __always_inline int stray(struct kind kind, __u32 queue)
{
	__u32 slot = (queue < queues ? queue : queues) * OWNERS + kind.owners->first;
	struct stray *s = bpf_map_lookup_elem(&strays, &slot);

	if (!s)
		return XDP_PASS; /* cannot be: the map has a slot for each */
	if (kind.fragment)
		count_shared(s->fragments);
	else
		count_shared(s->matched);
	return XDP_PASS;
}

static __always_inline int steer(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;
	__u32 slot = bpf_get_smp_processor_id() * (queues + 1) + (queue < queues ? queue : queues);
	struct counters *c = bpf_map_lookup_elem(&counts, &slot);
	struct kind kind;
	int action;

	if (!c)
		return XDP_PASS; /* cannot be: the map has a slot for each */
	kind = classify((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	if (!kind.owners) {
		count(c->other);
		return XDP_PASS;
	}
	if (!(kind.owners->set & c->owner))
		return stray(kind, queue);
	if (kind.fragment) {
		count(c->fragments);
		return XDP_PASS;
	}
	count(c->matched);
	/* XDP_REDIRECT is handed over, not delivered: a socket whose rings are full
	 * counts the packet in its XDP_STATISTICS. */
	action = bpf_redirect_map(&xsks, queue, XDP_PASS);
	if (action != XDP_REDIRECT)
		count(c->no_socket);
	return action;
}

/* Accepts packets in several buffers, that is above some 3500 bytes (Linux 5.18). */
SEC("xdp.frags")
int steer_frags(struct xdp_md *ctx)
{
	return steer(ctx);
}

/* The same for older kernels, which do not know of several buffers. */
SEC("xdp")
int steer_plain(struct xdp_md *ctx)
{
	return steer(ctx);
}

char license_name[] SEC("license") = "Apache-2.0";
