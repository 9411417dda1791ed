#include "textflag.h"

// Both kernels take bytes apart into two of four bits and multiply them with signed bytes into
// int32, which is exact. Four rows at a time share the loads of the query, and those that are
// listed 12 to 15 places behind are asked for: where they lie the processor cannot guess.

#define ROW(place, register) \
	MOVL  place(R13), register \
	IMULQ BX, register         \
	ADDQ  SI, register

// func dotRowsAVX2(out *int32, rows *byte, at *uint32, query *int8, n, width int)
TEXT ·dotRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ at+16(FP), R13
	MOVQ query+24(FP), DX
	MOVQ n+32(FP), CX
	MOVQ width+40(FP), BX
	LEAQ (DX)(BX*1), R9
	MOVL $0x0f0f0f0f, AX
	VMOVD AX, X6
	VPBROADCASTD X6, Y6
	MOVL $0x00010001, AX
	VMOVD AX, X7
	VPBROADCASTD X7, Y7

avx2four:
	MOVQ $48, R12

avx2fetch:
	MOVL  (R13)(R12*1), R8
	IMULQ BX, R8
	ADDQ  SI, R8
	MOVQ  BX, AX

avx2line:
	PREFETCHT0 (R8)
	ADDQ $64, R8
	SUBQ $64, AX
	JNE  avx2line
	ADDQ $4, R12
	CMPQ R12, $64
	JLT  avx2fetch
	ROW(0, R8)
	ROW(4, R10)
	ROW(8, R11)
	ROW(12, R12)
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

avx2loop:
	VMOVDQU (DX)(AX*1), Y4
	VMOVDQU (R9)(AX*1), Y5
	VMOVDQU (R8)(AX*1), Y8
	VMOVDQU (R10)(AX*1), Y10
	VMOVDQU (R11)(AX*1), Y12
	VMOVDQU (R12)(AX*1), Y14
	VPSRLW  $4, Y8, Y9
	VPSRLW  $4, Y10, Y11
	VPSRLW  $4, Y12, Y13
	VPSRLW  $4, Y14, Y15
	VPAND   Y6, Y8, Y8
	VPAND   Y6, Y9, Y9
	VPAND   Y6, Y10, Y10
	VPAND   Y6, Y11, Y11
	VPAND   Y6, Y12, Y12
	VPAND   Y6, Y13, Y13
	VPAND   Y6, Y14, Y14
	VPAND   Y6, Y15, Y15
	VPMADDUBSW Y4, Y8, Y8     // pairs of 15*127 fit int16, four of them too
	VPMADDUBSW Y5, Y9, Y9
	VPMADDUBSW Y4, Y10, Y10
	VPMADDUBSW Y5, Y11, Y11
	VPMADDUBSW Y4, Y12, Y12
	VPMADDUBSW Y5, Y13, Y13
	VPMADDUBSW Y4, Y14, Y14
	VPMADDUBSW Y5, Y15, Y15
	VPADDW  Y9, Y8, Y8
	VPADDW  Y11, Y10, Y10
	VPADDW  Y13, Y12, Y12
	VPADDW  Y15, Y14, Y14
	VPMADDWD Y7, Y8, Y8
	VPMADDWD Y7, Y10, Y10
	VPMADDWD Y7, Y12, Y12
	VPMADDWD Y7, Y14, Y14
	VPADDD  Y8, Y0, Y0
	VPADDD  Y10, Y1, Y1
	VPADDD  Y12, Y2, Y2
	VPADDD  Y14, Y3, Y3
	ADDQ    $32, AX
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

// func dotRowsVNNI(out *int32, rows *byte, at *uint32, query *int8, n, width int)
TEXT ·dotRowsVNNI(SB), NOSPLIT, $0-48
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ at+16(FP), R13
	MOVQ query+24(FP), DX
	MOVQ n+32(FP), CX
	MOVQ width+40(FP), BX
	LEAQ (DX)(BX*1), R9
	MOVL $0x0f0f0f0f, AX
	VPBROADCASTD AX, Z31

vnnifour:
	MOVQ $48, R12

vnnifetch:
	MOVL  (R13)(R12*1), R8
	IMULQ BX, R8
	ADDQ  SI, R8
	MOVQ  BX, AX

vnniline:
	PREFETCHT0 (R8)
	ADDQ $64, R8
	SUBQ $64, AX
	JNE  vnniline
	ADDQ $4, R12
	CMPQ R12, $64
	JLT  vnnifetch
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
	VMOVDQU64 (DX)(AX*1), Z16
	VMOVDQU64 (R9)(AX*1), Z17
	VMOVDQU64 (R8)(AX*1), Z18
	VMOVDQU64 (R10)(AX*1), Z19
	VMOVDQU64 (R11)(AX*1), Z20
	VMOVDQU64 (R12)(AX*1), Z21
	VPSRLW    $4, Z18, Z22
	VPSRLW    $4, Z19, Z23
	VPSRLW    $4, Z20, Z24
	VPSRLW    $4, Z21, Z25
	VPANDD    Z31, Z18, Z18
	VPANDD    Z31, Z19, Z19
	VPANDD    Z31, Z20, Z20
	VPANDD    Z31, Z21, Z21
	VPANDD    Z31, Z22, Z22
	VPANDD    Z31, Z23, Z23
	VPANDD    Z31, Z24, Z24
	VPANDD    Z31, Z25, Z25
	VPDPBUSD  Z16, Z18, Z0
	VPDPBUSD  Z16, Z19, Z1
	VPDPBUSD  Z16, Z20, Z2
	VPDPBUSD  Z16, Z21, Z3
	VPDPBUSD  Z17, Z22, Z4
	VPDPBUSD  Z17, Z23, Z5
	VPDPBUSD  Z17, Z24, Z6
	VPDPBUSD  Z17, Z25, Z7
	ADDQ      $64, AX
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
