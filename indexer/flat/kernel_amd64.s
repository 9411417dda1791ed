#include "textflag.h"

// Both kernels widen int8 to int16 and multiply pairs into int32, which is exact. Two rows
// or more at a time share the loads of the query. What lies a page ahead is asked for early:
// the processor's own prefetcher stops at the end of a page.

// func dotRowsAVX2(out *int32, rows *int8, query *int16, n, width int)
TEXT ·dotRowsAVX2(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ query+16(FP), DX
	MOVQ n+24(FP), CX
	MOVQ width+32(FP), BX

avx2pair:
	CMPQ  CX, $2
	JLT   avx2last
	LEAQ  (SI)(BX*1), R8
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	XORQ  AX, AX

avx2pairloop:
	VMOVDQU   (DX)(AX*2), Y8
	VMOVDQU   32(DX)(AX*2), Y9
	PREFETCHT0 4096(SI)(AX*1)
	PREFETCHT0 4096(R8)(AX*1)
	VPMOVSXBW (SI)(AX*1), Y4
	VPMOVSXBW 16(SI)(AX*1), Y5
	VPMOVSXBW (R8)(AX*1), Y6
	VPMOVSXBW 16(R8)(AX*1), Y7
	VPMADDWD  Y8, Y4, Y4
	VPMADDWD  Y9, Y5, Y5
	VPMADDWD  Y8, Y6, Y6
	VPMADDWD  Y9, Y7, Y7
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y1, Y1
	VPADDD    Y6, Y2, Y2
	VPADDD    Y7, Y3, Y3
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       avx2pairloop
	VPADDD    Y1, Y0, Y0
	VPADDD    Y3, Y2, Y2
	VPHADDD   Y2, Y0, Y0          // a a b b | a a b b
	VPHADDD   Y0, Y0, Y0          // a b a b | a b a b
	VEXTRACTI128 $1, Y0, X1
	VPADDD    X1, X0, X0
	VMOVQ     X0, (DI)
	ADDQ      $8, DI
	LEAQ      (SI)(BX*2), SI
	SUBQ      $2, CX
	JMP       avx2pair

avx2last:
	TESTQ CX, CX
	JEQ   avx2done
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	XORQ  AX, AX

avx2lastloop:
	VPMOVSXBW (SI)(AX*1), Y4
	VPMOVSXBW 16(SI)(AX*1), Y5
	VPMADDWD  (DX)(AX*2), Y4, Y4
	VPMADDWD  32(DX)(AX*2), Y5, Y5
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y1, Y1
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       avx2lastloop
	VPADDD    Y1, Y0, Y0
	VPHADDD   Y0, Y0, Y0
	VPHADDD   Y0, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD    X1, X0, X0
	VMOVD     X0, (DI)

avx2done:
	VZEROUPPER
	RET

// func dotRowsVNNI(out *int32, rows *int8, query *int16, n, width int)
TEXT ·dotRowsVNNI(SB), NOSPLIT, $0-40
	MOVQ out+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ query+16(FP), DX
	MOVQ n+24(FP), CX
	MOVQ width+32(FP), BX
	LEAQ (BX)(BX*2), R9

vnnifour:
	CMPQ   CX, $4
	JLT    vnnilast
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPXORQ Z2, Z2, Z2
	VPXORQ Z3, Z3, Z3
	LEAQ   (SI)(BX*1), R10
	LEAQ   (SI)(BX*2), R11
	LEAQ   (SI)(R9*1), R12
	XORQ   AX, AX

vnnifourloop:
	PREFETCHT0 4096(SI)(AX*1)
	PREFETCHT0 4096(R10)(AX*1)
	PREFETCHT0 4096(R11)(AX*1)
	PREFETCHT0 4096(R12)(AX*1)
	VMOVDQU64 (DX)(AX*2), Z8
	VPMOVSXBW (SI)(AX*1), Z4
	VPMOVSXBW (R10)(AX*1), Z5
	VPMOVSXBW (R11)(AX*1), Z6
	VPMOVSXBW (R12)(AX*1), Z7
	VPDPWSSD  Z8, Z4, Z0
	VPDPWSSD  Z8, Z5, Z1
	VPDPWSSD  Z8, Z6, Z2
	VPDPWSSD  Z8, Z7, Z3
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       vnnifourloop
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
	LEAQ      (SI)(BX*4), SI
	SUBQ      $4, CX
	JMP       vnnifour

vnnilast:
	TESTQ  CX, CX
	JEQ    vnnidone
	VPXORQ Z0, Z0, Z0
	XORQ   AX, AX

vnnilastloop:
	VPMOVSXBW (SI)(AX*1), Z4
	VPDPWSSD  (DX)(AX*2), Z4, Z0
	ADDQ      $32, AX
	CMPQ      AX, BX
	JLT       vnnilastloop
	VEXTRACTI64X4 $1, Z0, Y4
	VPADDD    Y4, Y0, Y0
	VPHADDD   Y0, Y0, Y0
	VPHADDD   Y0, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD    X1, X0, X0
	VMOVD     X0, (DI)
	ADDQ      $4, DI
	ADDQ      BX, SI
	DECQ      CX
	JMP       vnnilast

vnnidone:
	VZEROUPPER
	RET
