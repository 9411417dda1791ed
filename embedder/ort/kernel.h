// One kernel: what kernels.c includes once for each kind of CPU, after it has said what a vector V of W
// floats is, how many ROWS a tile has and how many COLUMNS of a panel its registers hold, and
// tile_KERNEL, which multiplies ROWS rows of bytes by one panel. POWER is 2^n for whole n from -127 on,
// which gives 0.

// gelu is x (1 + erf(x / sqrt 2)) / 2. erf is a quotient of polynomials in float32, within 4e-7.
TARGET static ALWAYS V NAME(gelu)(V x) {
  V t = MIN(MAX(MUL(x, SET(0.70710678f)), SET(-4)), SET(4)), u = MUL(t, t);
  V p = SET(-2.72614225801306e-10f);
  p = FMA(p, u, SET(2.77068142495902e-08f));
  p = FMA(p, u, SET(-2.10102402082508e-06f));
  p = FMA(p, u, SET(-5.69250639462346e-05f));
  p = FMA(p, u, SET(-7.34990630326855e-04f));
  p = FMA(p, u, SET(-2.95459980854025e-03f));
  p = FMA(p, u, SET(-1.60960333262415e-02f));
  V q = SET(-1.45660718464996e-05f);
  q = FMA(q, u, SET(-2.13374055278905e-04f));
  q = FMA(q, u, SET(-1.68282697438203e-03f));
  q = FMA(q, u, SET(-7.37332916720468e-03f));
  q = FMA(q, u, SET(-1.42647390514189e-02f));
  V half = MUL(x, SET(0.5f));
  return FMA(half, DIV(MUL(t, p), q), half);
}

// bytes rounds W floats to bytes; what is no number becomes 255.
TARGET static ALWAYS void NAME(bytes)(const float *x, uint8_t *a, V inverse, V zero) {
  V v = FMA(LOAD(x), inverse, zero);
  STORE_BYTES(a, MAX(MIN(v, SET(255)), SET(0)));
}

// total is the sum of n floats, or of their squares.
TARGET static ALWAYS float NAME(total)(const float *x, int64_t n, int squares) {
  float lane[W], whole = 0;
  V sum = SET(0);
  int64_t i = 0;
  for (; i + W <= n; i += W) sum = squares ? FMA(LOAD(x + i), LOAD(x + i), sum) : ADD(sum, LOAD(x + i));
  STORE(lane, sum);
  for (int l = 0; l < W; l++) whole += lane[l];
  for (; i < n; i++) whole += squares ? x[i] * x[i] : x[i];
  return whole;
}

// normalise gives a row of n floats the mean 0 and the variance 1, then a gain and a shift.
TARGET static void NAME(normalise)(const float *x, float *y, int64_t n, const float *gain, const float *shift, float epsilon) {
  float mean = NAME(total)(x, n, 0) / n;
  int64_t i = 0;
  for (; i + W <= n; i += W) STORE(y + i, ADD(LOAD(x + i), SET(-mean)));
  for (; i < n; i++) y[i] = x[i] - mean;
  float by = 1 / sqrtf(NAME(total)(y, n, 1) / n + epsilon);
  for (i = 0; i + W <= n; i += W) STORE(y + i, FMA(MUL(LOAD(y + i), SET(by)), LOAD(gain + i), LOAD(shift + i)));
  for (; i < n; i++) y[i] = y[i] * by * gain[i] + shift[i];
}

// row rounds the n floats of a row to bytes.
TARGET static void NAME(row)(const float *x, uint8_t *a, int64_t n, const product *p) {
  V inverse = SET(p->inverse), zero = SET(p->zero);
  int64_t i = 0;
  for (; i + W <= n; i += W) NAME(bytes)(x + i, a + i, inverse, zero);
  if (i < n) {
    float rest[W] = {0};
    uint8_t out[W];
    memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
    NAME(bytes)(rest, out, inverse, zero);
    memcpy(a + i, out, (size_t)(n - i));
  }
}

// multiply is one product of the first rows of bytes a. It goes to bytes through GELU where next is not
// null, else to the floats of a job, from its row at.
TARGET static void NAME(multiply)(const product *p, const uint8_t *a, int64_t rows, const product *next, uint8_t *bytes, const job *j, int64_t at) {
  int32_t sum[ROWS * PANEL];
  float line[PANEL];
  int64_t stride = p->quads * QUAD, wide = p->panels / j->outputs * PANEL;
  int64_t step = PANEL * QUAD / ((rows + ROWS - 1) / ROWS);
  for (int64_t n = 0; n < p->panels * PANEL; n += PANEL)
    for (int64_t top = 0; top < rows; top += ROWS) {
      const int8_t *b = p->weight + n * stride;
      NAME(tile)(a + top * stride, stride, b, p->quads, p->start + n, b + PANEL * stride + top / ROWS * step * p->quads, step, sum);
      for (int64_t r = 0; r < ROWS && top + r < rows; r++) {
        for (int c = 0; c < PANEL; c += W) {
          V v = FMA(FROM_INT(sum + r * PANEL + c), LOAD(p->scale + n + c), LOAD(p->bias + n + c));
          STORE(line + c, next ? NAME(gelu)(v) : v);
        }
        if (next) {
          for (int c = 0; c < PANEL; c += W)
            NAME(bytes)(line + c, bytes + (top + r) * next->quads * QUAD + n + c, SET(next->inverse), SET(next->zero));
          continue;
        }
        int64_t column = n % wide, width = j->out - column < PANEL ? j->out - column : PANEL, to = (at + top + r) * j->out + column;
        if (j->residual && width == PANEL)
          for (int c = 0; c < PANEL; c += W) STORE(line + c, ADD(LOAD(line + c), LOAD(j->residual + to + c)));
        else if (j->residual)
          for (int64_t c = 0; c < width; c++) line[c] += j->residual[to + c];
        memcpy(j->y[n / wide] + to, line, (size_t)width * sizeof *line);
      }
    }
}

TARGET static int NAME(task)(const job *j, int64_t task) {
  int64_t at = task * j->chunk, rows = j->rows - at < j->chunk ? j->rows - at : j->chunk;
  int64_t whole = (rows + ROWS - 1) / ROWS * ROWS, first = j->first.quads * QUAD, second = j->second.panels ? j->second.quads * QUAD : 0;
  // Rows that fill up the last tile are computed and not read.
  float *line = malloc((size_t)j->in * sizeof *line + (size_t)(whole * (first + second)));
  if (!line) return -1;
  uint8_t *a = (uint8_t *)(line + j->in), *hidden = a + whole * first;
  memset(a + rows * first, 0, (size_t)((whole - rows) * first));
  memset(hidden + rows * second, 0, (size_t)((whole - rows) * second));
  for (int64_t r = 0; r < rows; r++) {
    memset(a + r * first + j->in, 0, (size_t)(first - j->in));
    const float *x = j->x + (at + r) * j->in;
    if (j->gain) {
      NAME(normalise)(x, line, j->in, j->gain, j->shift, j->epsilon);
      x = line;
    }
    NAME(row)(x, a + r * first, j->in, &j->first);
  }
  if (second) {
    NAME(multiply)(&j->first, a, rows, &j->second, hidden, j, at);
    NAME(multiply)(&j->second, hidden, rows, 0, 0, j, at);
  } else {
    NAME(multiply)(&j->first, a, rows, 0, 0, j, at);
  }
  free(line);
  return 0;
}

// power is e^x for x of at most 0; below -87.7 it is 0.
TARGET static ALWAYS V NAME(power)(V x) {
  x = MAX(SET(-88), x); // which stays no number
  V n = ROUND(MUL(x, SET(1.44269504f)));
  V r = FMA(n, SET(-0.693359375f), x);
  r = FMA(n, SET(2.12194440e-4f), r);
  V p = SET(1.9875691500e-4f);
  p = FMA(p, r, SET(1.3981999507e-3f));
  p = FMA(p, r, SET(8.3334519073e-3f));
  p = FMA(p, r, SET(4.1665795894e-2f));
  p = FMA(p, r, SET(1.6666665459e-1f));
  p = FMA(p, r, SET(5.0000001201e-1f));
  p = FMA(p, MUL(r, r), ADD(r, SET(1)));
  return MUL(p, POWER(n));
}

// floats multiplies ROWS rows of n floats by one panel of floats, [n][32]; rows of sums lie wide apart.
TARGET static void NAME(floats)(const float *a, int64_t stride, const float *b, int64_t n, float *sum, int64_t wide) {
  for (int from = 0; from < PANEL; from += COLUMNS) {
    V s[ROWS][COLUMNS / W];
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 32
      for (int c = 0; c < COLUMNS / W; c++) s[r][c] = SET(0);
    for (int64_t i = 0; i < n; i++) {
#pragma GCC unroll 12
      for (int r = 0; r < ROWS; r++) {
        V x = SET(a[r * stride + i]);
#pragma GCC unroll 32
        for (int c = 0; c < COLUMNS / W; c++) s[r][c] = FMA(x, LOAD(b + i * PANEL + from + c * W), s[r][c]);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 32
      for (int c = 0; c < COLUMNS / W; c++) STORE(sum + r * wide + from + c * W, s[r][c]);
  }
}

// shares makes shares of the n scores of a row, a multiple of W, and returns the factor that brings their sum to 1.
TARGET static float NAME(shares)(float *s, const float *bias, int64_t n, float scale) {
  float lane[W];
  V most = SET(-INFINITY);
  for (int64_t i = 0; i < n; i += W) {
    V v = FMA(LOAD(s + i), SET(scale), LOAD(bias + i));
    STORE(s + i, v);
    most = MAX(v, most); // that is most where v is no number
  }
  STORE(lane, most);
  float highest = lane[0];
  for (int i = 1; i < W; i++) highest = lane[i] > highest ? lane[i] : highest;
  V sum = SET(0);
  for (int64_t i = 0; i < n; i += W) {
    V v = NAME(power)(ADD(LOAD(s + i), SET(-highest)));
    STORE(s + i, v);
    sum = ADD(sum, v);
  }
  STORE(lane, sum);
  float whole = lane[0];
  for (int i = 1; i < W; i++) whole += lane[i];
  return 1 / whole;
}

TARGET static int NAME(head)(const attention *t, int64_t head) {
  int64_t image = head / t->heads, row = t->heads * t->width, at = image * t->tokens * row + head % t->heads * t->width;
  int64_t keys = (t->tokens + PANEL - 1) / PANEL * PANEL, wide = (t->width + PANEL - 1) / PANEL * PANEL;
  const float *q = t->q + at, *k = t->k + at, *v = t->v + at;
  // Panels of keys, [keys / 32][width][32], and of values, [wide / 32][keys][32]; what fills them up is 0.
  float *kp = calloc((size_t)(keys * t->width + keys * wide + ROWS * (keys + t->width) + keys), sizeof *kp);
  if (!kp) return -1;
  float *vp = kp + keys * t->width, *share = vp + keys * wide, *query = share + ROWS * keys, *bias = query + ROWS * t->width;
  for (int64_t i = 0; i < t->tokens; i++) {
    for (int64_t d = 0; d < t->width; d++) kp[(i / PANEL * t->width + d) * PANEL + i % PANEL] = k[i * row + d];
    for (int64_t d = 0; d < t->width; d += PANEL)
      memcpy(vp + (d / PANEL * keys + i) * PANEL, v + i * row + d, (size_t)(t->width - d < PANEL ? t->width - d : PANEL) * sizeof *vp);
  }
  for (int64_t i = 0; i < keys; i++) bias[i] = i < t->tokens ? t->bias[image * t->tokens + i] : -INFINITY;
  float sum[ROWS * PANEL];
  for (int64_t top = 0; top < t->tokens; top += ROWS) {
    int64_t rows = t->tokens - top < ROWS ? t->tokens - top : ROWS;
    for (int64_t r = 0; r < rows; r++) memcpy(query + r * t->width, q + (top + r) * row, (size_t)t->width * sizeof *query);
    for (int64_t i = 0; i < keys; i += PANEL) NAME(floats)(query, t->width, kp + i * t->width, t->width, share + i, keys);
    float factor[ROWS];
    for (int64_t r = 0; r < rows; r++) factor[r] = NAME(shares)(share + r * keys, bias, keys, t->scale);
    for (int64_t d = 0; d < t->width; d += PANEL) {
      NAME(floats)(share, keys, vp + d * keys, t->tokens, sum, PANEL);
      for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < PANEL && d + c < t->width; c++) t->y[at + (top + r) * row + d + c] = sum[r * PANEL + c] * factor[r];
    }
  }
  free(kp);
  return 0;
}

#undef KERNEL
#undef TARGET
#undef ROWS
#undef W
#undef V
#undef LOAD
#undef STORE
#undef SET
#undef ADD
#undef MUL
#undef FMA
#undef DIV
#undef MIN
#undef MAX
#undef FROM_INT
#undef STORE_BYTES
#undef ROUND
#undef POWER
#undef COLUMNS
