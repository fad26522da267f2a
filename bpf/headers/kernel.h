//go:build ignore
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs use of the kernel's interface to BPF, from
 * include/uapi/linux/bpf.h: numbers and layouts that the kernel promises to keep.
 * They stand here instead of being included so that the object does not depend
 * on the version of the kernel headers on the machine that builds it.
 */
#ifndef SPEADX_KERNEL_H
#define SPEADX_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16; /* in network byte order */
typedef __u32 __be32;
typedef __u64 __be64;

typedef _Bool bool;
enum { false, true };

/* enum bpf_map_type and the flags of BPF_MAP_CREATE */
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_XSKMAP 17
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_F_MMAPABLE (1U << 10)

enum xdp_action {
	XDP_DROP = 1,
	XDP_PASS = 2,
	XDP_REDIRECT = 4,
};

struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

/* Helpers, by their number in ___BPF_FUNC_MAPPER. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*bpf_redirect_map)(void *map, __u32 key, __u64 flags) = (void *)51;
static long (*bpf_xdp_adjust_tail)(struct xdp_md *ctx, int delta) = (void *)65;
static long (*bpf_ringbuf_output)(void *ringbuf, void *data, __u64 size, __u64 flags) = (void *)130;

/* How a loader finds programs and reads the description of maps from BTF. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define __always_inline inline __attribute__((always_inline))

/*
 * A pointer plus a constant stays that after this. The compiler would otherwise
 * merge two such places into one that adds a variable, which the verifier only
 * lets pass with CAP_PERFMON, besides CAP_BPF. The number makes the places differ.
 */
#define keep_constant(pointer) asm volatile("" : "+r"(pointer) : "i"(__COUNTER__))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define bpf_htons(x) ((__be16)__builtin_bswap16(x))
#define bpf_htonl(x) ((__be32)__builtin_bswap32(x))
#define bpf_cpu_to_be64(x) ((__be64)__builtin_bswap64(x))
#else
#define bpf_htons(x) ((__be16)(x))
#define bpf_htonl(x) ((__be32)(x))
#define bpf_cpu_to_be64(x) ((__be64)(x))
#endif

#endif
