#include "textflag.h"

// The kernels of kernel.go, eight samples at a time or, where 16 bits are stored, sixteen. n is a
// multiple of that. Floats are multiplied and added one after the other, never in one operation,
// so that they round as those of Go do.

#define BROADCAST(value, low, wide) \
	MOVL value, AX       \
	VMOVD AX, low        \
	VPBROADCASTD low, wide

// func lift53EvenAVX2(x, a, b *int32, n int)
TEXT ·lift53EvenAVX2(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVQ n+24(FP), CX
	BROADCAST($2, X7, Y7)
	XORL AX, AX

even:
	VMOVDQU (SI)(AX*4), Y0
	VPADDD  (DX)(AX*4), Y0, Y0
	VPADDD  Y7, Y0, Y0
	VPSRAD  $2, Y0, Y0
	VMOVDQU (DI)(AX*4), Y1
	VPSUBD  Y0, Y1, Y1
	VMOVDQU Y1, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  even
	VZEROUPPER
	RET

// func lift53OddAVX2(x, a, b *int32, n int)
TEXT ·lift53OddAVX2(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVQ n+24(FP), CX
	XORL AX, AX

odd:
	VMOVDQU (SI)(AX*4), Y0
	VPADDD  (DX)(AX*4), Y0, Y0
	VPSRAD  $1, Y0, Y0
	VPADDD  (DI)(AX*4), Y0, Y0
	VMOVDQU Y0, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  odd
	VZEROUPPER
	RET

// func lift97AVX2(x, a, b *float32, n int, k float32)
TEXT ·lift97AVX2(SB), NOSPLIT, $0-36
	MOVQ x+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVQ n+24(FP), CX
	VBROADCASTSS k+32(FP), Y7
	XORL AX, AX

lift:
	VMOVUPS (SI)(AX*4), Y0
	VADDPS  (DX)(AX*4), Y0, Y0
	VMULPS  Y7, Y0, Y0
	VADDPS  (DI)(AX*4), Y0, Y0
	VMOVUPS Y0, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  lift
	VZEROUPPER
	RET

// func scaleAVX2(out, x *float32, n int, factor float32)
TEXT ·scaleAVX2(SB), NOSPLIT, $0-28
	MOVQ out+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS factor+24(FP), Y7
	XORL AX, AX

scale:
	VMULPS  (SI)(AX*4), Y7, Y0
	VMOVUPS Y0, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  scale
	VZEROUPPER
	RET

// func interleaveIntsAVX2(x, first, second *int32, n int)
TEXT ·interleaveIntsAVX2(SB), NOSPLIT, $0-32
	JMP ·interleaveFloatsAVX2(SB)

// func interleaveFloatsAVX2(x, first, second *float32, n int)
TEXT ·interleaveFloatsAVX2(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), DI
	MOVQ first+8(FP), SI
	MOVQ second+16(FP), DX
	MOVQ n+24(FP), CX
	XORL AX, AX

interleave:
	VMOVDQU (SI)(AX*4), Y0
	VMOVDQU (DX)(AX*4), Y1
	VPUNPCKLDQ Y1, Y0, Y2 // 0 1 and 4 5 of both, in turn
	VPUNPCKHDQ Y1, Y0, Y3 // 2 3 and 6 7
	VPERM2I128 $0x20, Y3, Y2, Y4
	VPERM2I128 $0x31, Y3, Y2, Y5
	VMOVDQU Y4, (DI)(AX*8)
	VMOVDQU Y5, 32(DI)(AX*8)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  interleave
	VZEROUPPER
	RET

// func dequantizeIntsAVX2(out *int32, mags *uint32, n int)
TEXT ·dequantizeIntsAVX2(SB), NOSPLIT, $0-24
	MOVQ out+0(FP), DI
	MOVQ mags+8(FP), SI
	MOVQ n+16(FP), CX
	XORL AX, AX

ints:
	VMOVDQU (SI)(AX*4), Y0
	VPSLLD  $1, Y0, Y1
	VPSRLD  $2, Y1, Y1   // without the sign and the half
	VPSIGND Y0, Y1, Y1   // a zero stays one, whatever its sign
	VMOVDQU Y1, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  ints
	VZEROUPPER
	RET

// func dequantizeFloatsAVX2(out *float32, mags *uint32, n int, half float32)
TEXT ·dequantizeFloatsAVX2(SB), NOSPLIT, $0-28
	MOVQ out+0(FP), DI
	MOVQ mags+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS half+24(FP), Y7
	BROADCAST($0x80000000, X6, Y6)
	XORL AX, AX

floats:
	VMOVDQU   (SI)(AX*4), Y0
	VPANDN    Y0, Y6, Y1 // without the sign
	VPAND     Y0, Y6, Y0 // the sign alone
	VCVTDQ2PS Y1, Y1
	VMULPS    Y7, Y1, Y1
	VPOR      Y0, Y1, Y1
	VMOVDQU   Y1, (DI)(AX*4)
	ADDQ $8, AX
	CMPQ AX, CX
	JLT  floats
	VZEROUPPER
	RET

// STORE shifts, clamps and stores 16 samples in Y0 and Y1; Y2 is the shift, Y3 and Y4 are the
// least and the largest, Y5 has 16 ones in 32 bits.
#define STORE \
	VPADDD    Y2, Y0, Y0  \
	VPADDD    Y2, Y1, Y1  \
	VPMINSD   Y4, Y0, Y0  \
	VPMINSD   Y4, Y1, Y1  \
	VPMAXSD   Y3, Y0, Y0  \
	VPMAXSD   Y3, Y1, Y1  \
	VPAND     Y5, Y0, Y0  \
	VPAND     Y5, Y1, Y1  \
	VPACKUSDW Y1, Y0, Y0  \
	VPERMQ    $0xd8, Y0, Y0 \
	VMOVDQU   Y0, (DI)(AX*2)

// func storeIntsAVX2(out *uint16, x *int32, n int, shift, low, high int32)
TEXT ·storeIntsAVX2(SB), NOSPLIT, $0-36
	MOVQ out+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS shift+24(FP), Y2
	VBROADCASTSS low+28(FP), Y3
	VBROADCASTSS high+32(FP), Y4
	BROADCAST($0xffff, X5, Y5)
	XORL AX, AX

storeInts:
	VMOVDQU (SI)(AX*4), Y0
	VMOVDQU 32(SI)(AX*4), Y1
	STORE
	ADDQ $16, AX
	CMPQ AX, CX
	JLT  storeInts
	VZEROUPPER
	RET

// func storeFloatsAVX2(out *uint16, x *float32, n int, shift, low, high int32)
TEXT ·storeFloatsAVX2(SB), NOSPLIT, $0-36
	MOVQ out+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS shift+24(FP), Y2
	VBROADCASTSS low+28(FP), Y3
	VBROADCASTSS high+32(FP), Y4
	BROADCAST($0xffff, X5, Y5)
	BROADCAST($0x80000000, X6, Y6)
	BROADCAST($0x3f000000, X7, Y7)  // 0.5
	BROADCAST($0xc9800000, X8, Y8)  // -farFloat
	BROADCAST($0x49800000, X9, Y9)  // farFloat
	XORL AX, AX

storeFloats:
	VMOVUPS (SI)(AX*4), Y0
	VMOVUPS 32(SI)(AX*4), Y1
	VMAXPS  Y8, Y0, Y0      // the second where the first is no number
	VMAXPS  Y8, Y1, Y1
	VMINPS  Y9, Y0, Y0
	VMINPS  Y9, Y1, Y1
	VPAND   Y6, Y0, Y10
	VPAND   Y6, Y1, Y11
	VPOR    Y7, Y10, Y10    // half, away from zero
	VPOR    Y7, Y11, Y11
	VADDPS  Y10, Y0, Y0
	VADDPS  Y11, Y1, Y1
	VCVTTPS2DQ Y0, Y0
	VCVTTPS2DQ Y1, Y1
	STORE
	ADDQ $16, AX
	CMPQ AX, CX
	JLT  storeFloats
	VZEROUPPER
	RET
