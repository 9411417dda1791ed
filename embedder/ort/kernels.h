// The arithmetic of Radstream's own operators, which operators.go describes, for several kinds of CPU.
#ifndef RADSTREAM_KERNELS_H
#define RADSTREAM_KERNELS_H

#include <stdint.h>

// PANEL is how many columns (outputs) lie together in memory; QUAD how many numbers of a column.
enum { PANEL = 32, QUAD = 4 };

// A product in int8 is y = W x + b for rows x of floats, which are rounded to bytes. Its weights lie as
// they are read: by panel of 32 columns, then by quad of inputs, then by column, then the four weights:
// [panels][quads][32][4]. Columns and inputs are filled up to multiples of 32 with weights of 0.
typedef struct {
  const int8_t *weight;
  const int32_t *start;  // [panels][32]: -zero times the sum of the column's weights
  const float *scale;    // [panels][32]: of the input times that of the column
  const float *bias;     // [panels][32]
  int64_t panels, quads;
  float inverse;  // 1 / the scale of the input
  float zero;     // the byte that stands for 0 in it
} product;

// A job is one run of a product, or of two, over all rows.
typedef struct {
  product first;
  product second;     // of a feed-forward block (MLP): first, GELU, second; without it, panels is 0
  const float *x;     // [rows][in]
  const float *gain, *shift; // [in]: x is normalised by layer first; null where not
  float epsilon;
  const float *residual;     // [rows][out], added to the first output; null where not
  float *y[3];        // each [rows][out]
  int64_t rows, in;   // in is the width of x
  int64_t outputs, out;  // each of the outputs has whole panels
  int64_t chunk;      // rows of one task
  int kernel;
} job;

// An attention is one run over all images and heads: y = softmax(q k^T scale + bias) v.
typedef struct {
  const float *q, *k, *v;  // [images][tokens][heads][width]
  const float *bias;       // [images][tokens], of each key
  float *y;                // as q
  int64_t images, tokens, heads, width;
  float scale;
  int kernel;
} attention;

// kernels returns how many kernels this CPU can run; 0 is the slowest, plain C.
int kernels(void);
const char *kernel_name(int kernel);

// run_task computes the rows of one task; run_head one head of one image, of images times heads.
// They return -1 where memory is missing.
int run_task(const job *j, int64_t task);
int run_head(const attention *a, int64_t head);

#endif
