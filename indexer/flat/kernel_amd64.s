#include "textflag.h"

// Both kernels make bytes of the five bits of each element and multiply them with signed bytes
// into int32, which is exact. Four rows at a time share the loads of the query, and those that
// are listed 12 to 15 places behind are asked for: where they lie the processor cannot guess.
//
// AX goes through the nibbles of a row, R14 through its fifth bits. A row is BX and a quarter long.

#define ROW(place, register) \
	MOVL  place(R13), register \
	IMULQ R9, register         \
	ADDQ  SI, register

// FETCH asks for the rows that are listed 12 to 15 places behind.
#define FETCH(next, line) \
	MOVQ $48, R12               \
next:                           \
	MOVL  (R13)(R12*1), R8      \
	IMULQ R9, R8                \
	ADDQ  SI, R8                \
	MOVQ  R9, AX                \
line:                           \
	PREFETCHT0 (R8)             \
	ADDQ $64, R8                \
	SUBQ $64, AX                \
	JGT  line                   \
	ADDQ $4, R12                \
	CMPQ R12, $64               \
	JLT  next                   \
	XORL AX, AX                 \
	MOVQ BX, R14

// BYTES2 sets 16 in the bytes of nibbles whose bit is set in the four bytes at bits(row)(R14).
#define BYTES2(row, bits, nibbles) \
	VPBROADCASTD bits(row)(R14*1), Y11 \
	VPSHUFB  Y12, Y11, Y11             \
	VPAND    Y13, Y11, Y11             \
	VPCMPEQB Y13, Y11, Y11             \
	VPAND    Y14, Y11, Y11             \
	VPOR     Y11, nibbles, nibbles

// HALF2 adds the products of the 32 bytes at at(row)(AX).
#define HALF2(row, at, bits, sum) \
	VMOVDQU at(row)(AX*1), Y8        \
	VPSRLW  $4, Y8, Y9               \
	VPAND   Y6, Y8, Y8               \
	VPAND   Y6, Y9, Y9               \
	BYTES2(row, bits, Y8)            \
	BYTES2(row, (bits+8), Y9)        \
	VPMADDUBSW Y4, Y8, Y8            \
	VPMADDUBSW Y5, Y9, Y9            \
	VPADDW  Y9, Y8, Y8               \ // four of 31*127 fit int16
	VPMADDWD Y7, Y8, Y8              \
	VPADDD  Y8, sum, sum

// func dotRowsAVX2(out *int32, rows *byte, at *uint32, query *int8, n, width int)
TEXT ·dotRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ at+16(FP), R13
	MOVQ query+24(FP), DX
	MOVQ n+32(FP), CX
	MOVQ width+40(FP), BX
	MOVQ BX, R9
	SHRQ $2, R9
	ADDQ BX, R9
	MOVL $0x0f0f0f0f, AX
	VMOVD AX, X6
	VPBROADCASTD X6, Y6
	MOVL $0x00010001, AX
	VMOVD AX, X7
	VPBROADCASTD X7, Y7
	VMOVDQU byteOfBit<>(SB), Y12
	MOVQ $0x8040201008040201, AX
	VMOVQ AX, X13
	VPBROADCASTQ X13, Y13
	MOVL $0x10101010, AX
	VMOVD AX, X14
	VPBROADCASTD X14, Y14

avx2four:
	FETCH(avx2next, avx2line)
	ROW(0, R8)
	ROW(4, R10)
	ROW(8, R11)
	ROW(12, R12)
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

avx2loop:
	VMOVDQU (DX)(AX*2), Y4
	VMOVDQU 64(DX)(AX*2), Y5
	HALF2(R8, 0, 0, Y0)
	HALF2(R10, 0, 0, Y1)
	HALF2(R11, 0, 0, Y2)
	HALF2(R12, 0, 0, Y3)
	VMOVDQU 32(DX)(AX*2), Y4
	VMOVDQU 96(DX)(AX*2), Y5
	HALF2(R8, 32, 4, Y0)
	HALF2(R10, 32, 4, Y1)
	HALF2(R11, 32, 4, Y2)
	HALF2(R12, 32, 4, Y3)
	ADDQ    $64, AX
	ADDQ    $16, R14
	CMPQ    AX, BX
	JLT     avx2loop
	VPHADDD Y1, Y0, Y0          // a a b b | a a b b
	VPHADDD Y3, Y2, Y2          // c c d d | c c d d
	VPHADDD Y2, Y0, Y0          // a b c d | a b c d
	VEXTRACTI128 $1, Y0, X1
	VPADDD  X1, X0, X0
	VMOVDQU X0, (DI)
	ADDQ    $16, DI
	ADDQ    $16, R13
	SUBQ    $4, CX
	JNE     avx2four
	VZEROUPPER
	RET

// byteOfBit copies each of four bytes to where its eight bits are looked at.
DATA byteOfBit<>+0(SB)/8, $0x0000000000000000
DATA byteOfBit<>+8(SB)/8, $0x0101010101010101
DATA byteOfBit<>+16(SB)/8, $0x0202020202020202
DATA byteOfBit<>+24(SB)/8, $0x0303030303030303
GLOBL byteOfBit<>(SB), RODATA|NOPTR, $32

// BYTES5 takes the 64 bytes at (row)(AX) apart into bytes of five bits.
#define BYTES5(row, lower, upper) \
	VMOVDQU64 (row)(AX*1), lower      \
	VPSRLW    $4, lower, upper        \
	VPANDD    Z31, lower, lower       \
	VPANDD    Z31, upper, upper       \
	KMOVQ     (row)(R14*1), K1        \
	KMOVQ     8(row)(R14*1), K2       \
	VPADDB    Z30, lower, K1, lower   \
	VPADDB    Z30, upper, K2, upper

// func dotRowsVNNI(out *int32, rows *byte, at *uint32, query *int8, n, width int)
TEXT ·dotRowsVNNI(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ at+16(FP), R13
	MOVQ query+24(FP), DX
	MOVQ n+32(FP), CX
	MOVQ width+40(FP), BX
	MOVQ BX, R9
	SHRQ $2, R9
	ADDQ BX, R9
	MOVL $0x0f0f0f0f, AX
	VPBROADCASTD AX, Z31
	MOVL $0x10101010, AX
	VPBROADCASTD AX, Z30

vnnifour:
	FETCH(vnninext, vnniline)
	ROW(0, R8)
	ROW(4, R10)
	ROW(8, R11)
	ROW(12, R12)
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPXORQ Z2, Z2, Z2
	VPXORQ Z3, Z3, Z3
	VPXORQ Z4, Z4, Z4
	VPXORQ Z5, Z5, Z5
	VPXORQ Z6, Z6, Z6
	VPXORQ Z7, Z7, Z7

vnniloop:
	VMOVDQU64 (DX)(AX*2), Z16
	VMOVDQU64 64(DX)(AX*2), Z17
	BYTES5(R8, Z18, Z22)
	BYTES5(R10, Z19, Z23)
	BYTES5(R11, Z20, Z24)
	BYTES5(R12, Z21, Z25)
	VPDPBUSD  Z16, Z18, Z0
	VPDPBUSD  Z16, Z19, Z1
	VPDPBUSD  Z16, Z20, Z2
	VPDPBUSD  Z16, Z21, Z3
	VPDPBUSD  Z17, Z22, Z4
	VPDPBUSD  Z17, Z23, Z5
	VPDPBUSD  Z17, Z24, Z6
	VPDPBUSD  Z17, Z25, Z7
	ADDQ      $64, AX
	ADDQ      $16, R14
	CMPQ      AX, BX
	JLT       vnniloop
	VPADDD    Z4, Z0, Z0
	VPADDD    Z5, Z1, Z1
	VPADDD    Z6, Z2, Z2
	VPADDD    Z7, Z3, Z3
	VEXTRACTI64X4 $1, Z0, Y4
	VEXTRACTI64X4 $1, Z1, Y5
	VEXTRACTI64X4 $1, Z2, Y6
	VEXTRACTI64X4 $1, Z3, Y7
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y1, Y1
	VPADDD    Y6, Y2, Y2
	VPADDD    Y7, Y3, Y3
	VPHADDD   Y1, Y0, Y0          // a a b b | a a b b
	VPHADDD   Y3, Y2, Y2          // c c d d | c c d d
	VPHADDD   Y2, Y0, Y0          // a b c d | a b c d
	VEXTRACTI128 $1, Y0, X1
	VPADDD    X1, X0, X0
	VMOVDQU   X0, (DI)
	ADDQ      $16, DI
	ADDQ      $16, R13
	SUBQ      $4, CX
	JNE       vnnifour
	VZEROUPPER
	RET
