#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GLUE2(a, b) a##b
#define GLUE(a, b) GLUE2(a, b)
#define NAME(f) GLUE(f##_, KERNEL)
#define ALWAYS inline __attribute__((always_inline))

// Plain C.
#define KERNEL plain
#define TARGET
#define ROWS 4
#define W 1
#define V float
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define SET(x) (x)
#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define FMA(a, b, c) ((a) * (b) + (c))
#define DIV(a, b) ((a) / (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define FROM_INT(p) ((float)*(p))
#define STORE_BYTES(p, v) (*(p) = (uint8_t)rintf(v))
#define ROUND(v) rintf(v)
#define POWER(n) ((n) < -126 ? 0 : ldexpf(1, (int)(n)))
#define COLUMNS PANEL
static void tile_plain(const uint8_t *a, int64_t stride, const int8_t *b, int64_t quads, const int32_t *start, const int8_t *next, int64_t step, int32_t *sum) {
  (void)next, (void)step;
  for (int r = 0; r < ROWS; r++) memcpy(sum + r * PANEL, start, PANEL * sizeof *sum);
  for (int64_t q = 0; q < quads; q++, b += PANEL * QUAD)
    for (int r = 0; r < ROWS; r++) {
      const uint8_t *x = a + r * stride + q * QUAD;
      for (int c = 0; c < PANEL; c++)
        for (int i = 0; i < QUAD; i++) sum[r * PANEL + c] = (int32_t)((uint32_t)sum[r * PANEL + c] + (uint32_t)(x[i] * b[c * QUAD + i])); // wraps, as the others do
    }
}
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

// AVX2: VPMADDUBSW adds two products in 16 bits, which 7-bit weights never overflow.
#define KERNEL avx2
#define TARGET __attribute__((target("avx2,fma")))
#define ROWS 4
#define W 8
#define V __m256
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SET(x) _mm256_set1_ps(x)
#define ADD(a, b) _mm256_add_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define DIV(a, b) _mm256_div_ps(a, b)
#define MIN(a, b) _mm256_min_ps(a, b)
#define MAX(a, b) _mm256_max_ps(a, b)
#define FROM_INT(p) _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define STORE_BYTES(p, v) store_bytes_avx2(p, v)
#define ROUND(v) _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define POWER(n) _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23))
#define COLUMNS 16
TARGET static ALWAYS void store_bytes_avx2(uint8_t *p, __m256 v) {
  __m256i i = _mm256_cvtps_epi32(v);
  __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
  _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(h, h));
}
TARGET static void tile_avx2(const uint8_t *a, int64_t stride, const int8_t *b, int64_t quads, const int32_t *start, const int8_t *next, int64_t step, int32_t *sum) {
  const __m256i ones = _mm256_set1_epi16(1);
  (void)next, (void)step;
  for (int half = 0; half < 2; half++) {
    __m256i s[ROWS][2];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
      for (int c = 0; c < 2; c++) s[r][c] = _mm256_loadu_si256((const __m256i *)(start + half * 16) + c);
    for (int64_t q = 0; q < quads; q++) {
      const __m256i *w = (const __m256i *)(b + q * PANEL * QUAD + half * 64);
      __m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1);
#pragma GCC unroll 4
      for (int r = 0; r < ROWS; r++) {
        int32_t four;
        memcpy(&four, a + r * stride + q * QUAD, QUAD);
        __m256i x = _mm256_set1_epi32(four);
        s[r][0] = _mm256_add_epi32(s[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(x, w0), ones));
        s[r][1] = _mm256_add_epi32(s[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(x, w1), ones));
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 2
      for (int c = 0; c < 2; c++) _mm256_storeu_si256((__m256i *)(sum + r * PANEL + half * 16) + c, s[r][c]);
  }
}
#include "kernel.h"

// AVX512-VNNI: four products and their sum in one instruction.
#define KERNEL vnni
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define ROWS 12
#define W 16
#define V __m512
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SET(x) _mm512_set1_ps(x)
#define ADD(a, b) _mm512_add_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define DIV(a, b) _mm512_div_ps(a, b)
#define MIN(a, b) _mm512_min_ps(a, b)
#define MAX(a, b) _mm512_max_ps(a, b)
#define FROM_INT(p) _mm512_cvtepi32_ps(_mm512_loadu_si512(p))
#define STORE_BYTES(p, v) _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)))
#define ROUND(v) _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define POWER(n) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23))
#define COLUMNS PANEL
TARGET static void tile_vnni(const uint8_t *a, int64_t stride, const int8_t *b, int64_t quads, const int32_t *start, const int8_t *next, int64_t step, int32_t *sum) {
  __m512i s[ROWS][2];
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; r++) s[r][0] = _mm512_loadu_si512(start), s[r][1] = _mm512_loadu_si512(start + 16);
  for (int64_t q = 0; q < quads; q++, b += PANEL * QUAD) {
    _mm_prefetch(next + q * step, _MM_HINT_T1);
    __m512i w0 = _mm512_loadu_si512(b), w1 = _mm512_loadu_si512(b + 64);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
      int32_t four;
      memcpy(&four, a + r * stride + q * QUAD, QUAD);
      __m512i x = _mm512_set1_epi32(four);
      s[r][0] = _mm512_dpbusd_epi32(s[r][0], x, w0);
      s[r][1] = _mm512_dpbusd_epi32(s[r][1], x, w1);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; r++) _mm512_storeu_si512(sum + r * PANEL, s[r][0]), _mm512_storeu_si512(sum + r * PANEL + 16, s[r][1]);
}
#include "kernel.h"
#endif

static const struct {
  const char *name;
  int (*task)(const job *, int64_t);
  int (*head)(const attention *, int64_t);
} all[] = {
    {"plain", task_plain, head_plain},
#if defined(__x86_64__)
    {"AVX2", task_avx2, head_avx2},
    {"AVX512-VNNI", task_vnni, head_vnni},
#endif
};

int kernels(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 1;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vnni")) return 2;
  return 3;
#else
  return 1;
#endif
}

const char *kernel_name(int kernel) { return all[kernel].name; }

int run_task(const job *j, int64_t task) { return all[j->kernel].task(j, task); }

int run_head(const attention *a, int64_t head) { return all[a->kernel].head(a, head); }
