#include "textflag.h"

// A line that is written in part the ordinary way and in part past the cache would
// be read, written back and written again. So the ordinary stores at both ends keep
// to lines that they do not share with the whole ones.

// func Fence()
TEXT ·Fence(SB), NOSPLIT, $0-0
	SFENCE
	RET

// func prefetch(p *byte, n uintptr)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
line:
	PREFETCHT0 (AX)
	ADDQ $64, AX
	SUBQ $64, CX
	JHI  line
	RET

// copyAVX512 copies CX bytes, at least 64, from SI to DI, the whole lines of dst by
// the store given. What comes before the first whole line, AX bytes, and after the
// last is moved by the lowest bytes of a register, if there is any: where a mask is
// empty the address may be on a page that is not mapped, and not to fault there costs
// the processor a microcode assist. The line of the last bytes is fetched first: it is
// read before it is written, and all stores would wait for it. While lines are copied
// four by four, as many at R8 are fetched into the second level of the cache. At lines,
// 256 was taken off CX too much, and one line of 64 is wanted.
#define copyAVX512(STORE) \
	PREFETCHT0 -1(DI)(CX*1) \
	MOVQ DI, AX \
	MOVQ $-1, DX \
	NEGQ AX \
	ANDQ $63, AX \
	JZ   aligned \
	BZHIQ AX, DX, BX \
	KMOVQ BX, K1 \
	VMOVDQU8.Z (SI), K1, Z0 \
	VMOVDQU8 Z0, K1, (DI) \
	ADDQ AX, SI \
	ADDQ AX, DI \
	SUBQ AX, CX \
aligned: \
	SUBQ $256, CX \
	JLO  lines \
four: \
	PREFETCHT1 (R8) \
	PREFETCHT1 64(R8) \
	PREFETCHT1 128(R8) \
	PREFETCHT1 192(R8) \
	ADDQ $256, R8 \
	VMOVDQU64 (SI), Z0 \
	VMOVDQU64 64(SI), Z1 \
	VMOVDQU64 128(SI), Z2 \
	VMOVDQU64 192(SI), Z3 \
	STORE Z0, (DI) \
	STORE Z1, 64(DI) \
	STORE Z2, 128(DI) \
	STORE Z3, 192(DI) \
	ADDQ $256, SI \
	ADDQ $256, DI \
	SUBQ $256, CX \
	JHS  four \
lines: \
	ADDQ $192, CX \
	JNC  end \
one: \
	VMOVDQU64 (SI), Z0 \
	STORE Z0, (DI) \
	ADDQ $64, SI \
	ADDQ $64, DI \
	SUBQ $64, CX \
	JHS  one \
end: \
	ADDQ $64, CX \
	JZ   done \
	BZHIQ CX, DX, BX \
	KMOVQ BX, K1 \
	VMOVDQU8.Z (SI), K1, Z0 \
	VMOVDQU8 Z0, K1, (DI) \
done: \
	VZEROUPPER \
	RET

// func copyAVX512(dst, src *byte, n uintptr, next *byte)
TEXT ·copyAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ next+24(FP), R8
	copyAVX512(VMOVDQU64)

// func copyPastAVX512(dst, src *byte, n uintptr, next *byte)
TEXT ·copyPastAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ next+24(FP), R8
	copyAVX512(VMOVNTDQ)

// func copyPastAVX2(dst, src *byte, n uintptr)
TEXT ·copyPastAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

	PREFETCHT0 -1(DI)(CX*1)

	// To the first whole line, byte by byte up to 8 and then by words.
	MOVQ DI, AX
	NEGQ AX
	ANDQ $63, AX
	SUBQ AX, CX
	JMP  headBytes
headByte:
	MOVB (SI), BX
	MOVB BX, (DI)
	INCQ SI
	INCQ DI
	DECQ AX
headBytes:
	TESTQ $7, AX
	JNZ  headByte
	JMP  headWords
headWord:
	MOVQ (SI), BX
	MOVQ BX, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	SUBQ $8, AX
headWords:
	TESTQ AX, AX
	JNZ  headWord

	SUBQ $128, CX
	JLO  lines
two:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU 64(SI), Y2
	VMOVDQU 96(SI), Y3
	VMOVNTDQ Y0, (DI)
	VMOVNTDQ Y1, 32(DI)
	VMOVNTDQ Y2, 64(DI)
	VMOVNTDQ Y3, 96(DI)
	ADDQ $128, SI
	ADDQ $128, DI
	SUBQ $128, CX
	JHS  two
lines:
	ADDQ $64, CX // 128 was taken off too much; one line is wanted
	JNC  tail
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVNTDQ Y0, (DI)
	VMOVNTDQ Y1, 32(DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $64, CX
tail:
	ADDQ $64, CX
	VZEROUPPER
	JMP  tailWords
tailWord:
	MOVQ (SI), BX
	MOVQ BX, (DI)
	ADDQ $8, SI
	ADDQ $8, DI
	SUBQ $8, CX
tailWords:
	CMPQ CX, $8
	JHS  tailWord
	TESTQ CX, CX
	JZ   done
tailByte:
	MOVB (SI), BX
	MOVB BX, (DI)
	INCQ SI
	INCQ DI
	DECQ CX
	JNZ  tailByte
done:
	RET
