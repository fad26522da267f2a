//go:build ignore
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a load of SPEAD packets for a receiver under test. It runs by BPF_PROG_RUN
 * with live frames: the kernel gives it copies of a template packet, one after the
 * other, the program makes each of them the next packet of a stream of heaps and
 * sends it out of an interface. Between bursts it drops the copies it is given, and
 * when there is nothing more to send as well: to stop it is up to user space.
 *
 * The kernel makes copies for as many packets as are under way and then gives the
 * same ones again, as they were left. So everything in which packets differ is
 * written each time.
 *
 * Heaps are sent in groups of in_flight: the first packet of each heap of the group,
 * then the second of each, and so on. Destinations have the heaps in turn.
 */
#include "kernel.h"
#include "packet.h"

/* Set before loading, and constants to the verifier. */
const volatile __u32 interface = 0; /* to send out of */
const volatile bool ipv6 = false;
const volatile __u32 destinations = 1;
const volatile __u64 in_flight = 1; /* heaps, at most MAX_IN_FLIGHT */
const volatile __u64 packets_per_heap = 1;
const volatile __u64 payload = 0;    /* bytes of a packet, but for the last of a heap */
const volatile __u32 last_lacks = 0; /* bytes by which the last packet is shorter */
const volatile __u64 first_count = 1;

/* Item pointers (id and mode) and the values that they have room for. */
const volatile __u64 count_pointer = 0;
const volatile __u64 offset_pointer = 0;
const volatile __u64 largest_value = 0;

/* Every so manieth packet, counted from 1 in the order of making; 0: none. */
const volatile __u64 drop_every = 0;
const volatile __u64 duplicate_every = 0;
const volatile __u64 swap_every = 0;

#define MAX_IN_FLIGHT 256 /* a power of two */

/* A frame up to the UDP checksum has 40 bytes with IPv4, 60 with IPv6. */
#define IPV4_WORDS 10
#define IPV6_WORDS 15

/* How the packets of a destination begin. */
struct start {
	__be32 words[IPV6_WORDS];
	__u32 sum;             /* for the UDP checksum, over all but the two pointers that vary */
	__be64 length_pointer; /* PAYLOAD_LENGTH, with its value */
};

struct destination {
	struct start full;
	struct start last; /* of the last packet of a heap, where that is shorter */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct destination);
} starts SEC(".maps");

/* What follows the UDP header: the order of the pointers is the packetiser's. */
struct spead {
	__be64 header;
	__be64 count;
	__be64 heap_length;
	__be64 offset;
	__be64 length;
} __attribute__((packed));

enum stop {
	STOP_NOT,
	STOP_GROUP, /* when the heaps in flight are finished */
	STOP_NOW,
};

/* Written by user space, at any time. */
struct control {
	__u64 end;    /* heaps, of all runs: there it finishes */
	__u64 stop;   /* enum stop */
	__u64 burst;  /* packets that are sent back to back */
	__u64 period; /* nanoseconds from one burst to the next; 0: no pause */
	__u64 pace;   /* another number: the next burst is due at once */
	__u64 unused[3];
};

/* A packet, by its place in the order of making. */
struct packet {
	__u64 number; /* from 1 */
	__u64 heap;   /* from 0 */
	__u64 row;    /* its index in the heap */
};

/* How many packets of a heap were dropped. */
struct loss {
	__u64 heap;
	__u64 packets;
};

/* Written by the program, and by user space between runs. */
struct progress {
	/* Packets handed to the interface, repetitions included. */
	__u64 attempted;
	__u64 attempted_last; /* of these, last ones of heaps */

	/* Faults, in packets; swapped counts pairs. */
	__u64 dropped;
	__u64 duplicated;
	__u64 swapped;

	/* Heaps that were made in full, and those of them that lack some packets, or
	 * all. Heaps that were cut off are none of these. */
	__u64 heaps;
	__u64 damaged;
	__u64 missing;
	__u64 cut;

	/* The time from the first packet of a run to its end, of all runs, and how often
	 * the program was run meanwhile when no packet was due. */
	__u64 elapsed;
	__u64 idle;

	__u64 finished; /* nothing is left to send in this run */
	__u64 began;    /* when it sent its first packet; 0: not yet */

	/* The packet to be made next. width is the size of the group: 0 is between two. */
	__u64 made;  /* packets before it */
	__u64 first; /* heap of the group */
	__u64 width;
	__u64 slot;
	__u64 row;

	/* Faults under way. */
	__u64 holds; /* held is sent in the place of the next packet, which has been */
	__u64 again; /* latest is sent once more */
	struct packet held;
	struct packet latest;
	__u64 group_damaged; /* so far; counted when the group is finished */
	__u64 group_missing;

	/* Pacing: what is left of the burst, and when the next one may begin. */
	__u64 left;
	__u64 pace;
	__u64 average;
	__u64 due;

	struct loss losses[MAX_IN_FLIGHT]; /* by slot */
};

struct state {
	struct control control;
	struct progress progress;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} states SEC(".maps");

/* Has one record when a run is finished, which wakes up user space. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} finishes SEC(".maps");

/* begin opens the next group of heaps, unless the run shall finish. */
static __always_inline bool begin(struct control *c, struct progress *p)
{
	if (c->stop != STOP_NOT || p->first >= c->end)
		return false;
	p->width = c->end - p->first;
	if (p->width > in_flight)
		p->width = in_flight;
	return true;
}

/* step goes on to the next packet and says whether there is one. */
static __always_inline bool step(struct control *c, struct progress *p)
{
	p->made++;
	if (++p->slot < p->width)
		return true;
	p->slot = 0;
	if (++p->row < packets_per_heap)
		return true;
	p->row = 0;
	p->heaps += p->width;
	p->damaged += p->group_damaged;
	p->missing += p->group_missing;
	p->group_damaged = p->group_missing = 0;
	p->first += p->width;
	p->width = 0;
	return begin(c, p);
}

/* cut gives up the heaps in flight. */
static __always_inline void cut(struct progress *p)
{
	p->cut += p->width;
	p->first += p->width;
	p->width = p->slot = p->row = 0;
	p->holds = p->again = 0;
	p->group_damaged = p->group_missing = 0;
}

/* finished says whether nothing is left to send. */
static __always_inline bool finished(struct control *c, struct progress *p)
{
	if (p->finished)
		return true;
	if (c->stop == STOP_NOW)
		cut(p);
	if (p->width || p->again || begin(c, p))
		return false;
	p->finished = 1;
	if (p->began)
		p->elapsed += bpf_ktime_get_ns() - p->began;
	bpf_ringbuf_output(&finishes, &p->finished, sizeof(p->finished), 0);
	return true;
}

/*
 * due says whether a packet may be sent now. One clock begins bursts at the period on
 * average; the other, after a delay, no more than a twentieth faster than that.
 */
static __always_inline bool due(struct control *c, struct progress *p)
{
	__u64 period = c->period, now;

	if (!period)
		return true;
	if (p->pace == c->pace && p->left)
		return true;
	now = bpf_ktime_get_ns();
	if (p->pace != c->pace) {
		p->pace = c->pace;
		p->average = p->due = now;
	}
	if (now < p->due) {
		p->idle++;
		return false;
	}
	p->average += period;
	p->due = now + period - period / 21;
	if (p->due < p->average)
		p->due = p->average;
	p->left = c->burst;
	return true;
}

static __always_inline bool every(__u64 n, __u64 number)
{
	return n && number % n == 0;
}

static __always_inline void current(struct progress *p, struct packet *k)
{
	k->number = p->made + 1;
	k->heap = p->first + p->slot;
	k->row = p->row;
}

/* lose counts a packet that is dropped, the next one to be made. */
static __always_inline void lose(struct progress *p, struct packet *k)
{
	struct loss *l = &p->losses[p->slot & (MAX_IN_FLIGHT - 1)];

	p->dropped++;
	if (l->heap != k->heap) {
		l->heap = k->heap;
		l->packets = 0;
	}
	if (++l->packets == 1)
		p->group_damaged++;
	if (l->packets == packets_per_heap) {
		p->group_damaged--;
		p->group_missing++;
	}
}

/* take makes the next packet and says whether it is to be sent. */
static __always_inline bool take(struct control *c, struct progress *p, struct packet *k)
{
	bool more;

	if (p->again) {
		p->again = 0;
		p->duplicated++;
		*k = p->latest;
		return true;
	}
	current(p, k);
	if (every(drop_every, k->number)) {
		lose(p, k);
		step(c, p);
		return false;
	}
	more = step(c, p);
	if (p->holds) {
		p->holds = 0;
		*k = p->held;
	} else if (more && every(swap_every, k->number) && !every(drop_every, k->number + 1)) {
		p->swapped++;
		p->holds = 1;
		p->held = *k;
		current(p, k);
	}
	if (every(duplicate_every, k->number)) {
		p->again = 1;
		p->latest = *k;
	}
	return true;
}

/* add_words adds the 16-bit words of a number to an Internet checksum (RFC 1071). */
static __always_inline __u64 add_words(__u64 sum, __u64 n)
{
	return sum + (n & 0xffff) + (n >> 16 & 0xffff) + (n >> 32 & 0xffff) + (n >> 48);
}

/* checksum folds a sum. UDP writes 0 as its other representation. */
static __always_inline __be16 checksum(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	return bpf_htons(sum ? sum : 0xffff);
}

/* write makes the frame the packet k and says whether it has room for it. */
static __always_inline bool write(struct xdp_md *ctx, struct packet *k)
{
	bool last = last_lacks && k->row == packets_per_heap - 1;
	__u64 count = count_pointer | ((first_count + k->heap) & largest_value);
	__u64 offset = offset_pointer | k->row * payload;
	__u32 key = destinations > 1 ? k->heap % destinations : 0;
	struct destination *d = bpf_map_lookup_elem(&starts, &key);
	__u32 words = ipv6 ? IPV6_WORDS : IPV4_WORDS;
	struct spead *spead;
	struct start *s;
	__be32 *to;

	if (!d || (last && bpf_xdp_adjust_tail(ctx, -(int)last_lacks)))
		return false;
	s = last ? &d->last : &d->full;
	to = (void *)(long)ctx->data;
	spead = (void *)to + words * 4 + sizeof(__be16);
	if ((void *)(spead + 1) > (void *)(long)ctx->data_end)
		return false;
#pragma unroll
	for (__u32 i = 0; i < IPV6_WORDS; i++)
		if (i < words)
			to[i] = s->words[i];
	*(__be16 *)(to + words) = checksum(add_words(add_words(s->sum, count), offset));
	spead->count = bpf_cpu_to_be64(count);
	spead->offset = bpf_cpu_to_be64(offset);
	spead->length = s->length_pointer;
	return true;
}

SEC("xdp")
int blast(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct state *s = bpf_map_lookup_elem(&states, &zero);
	struct control *c;
	struct progress *p;
	struct packet k;

	if (!s)
		return XDP_DROP; /* cannot be */
	c = &s->control;
	p = &s->progress;
	if (finished(c, p) || !due(c, p) || !take(c, p, &k) || !write(ctx, &k))
		return XDP_DROP;
	if (p->left)
		p->left--;
	if (!p->began)
		p->began = bpf_ktime_get_ns();
	p->attempted++;
	if (k.row == packets_per_heap - 1)
		p->attempted_last++;
	return bpf_redirect(interface, 0);
}

char license_name[] SEC("license") = "Apache-2.0";
