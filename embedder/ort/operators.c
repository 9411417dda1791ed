// What ONNX Runtime sees of the operators that operators.go describes.
#define _GNU_SOURCE
#include "operators.h"

#include <dlfcn.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { LINEAR, MLP, ATTENTION, KINDS };

// An entry is one kind of operator. The library hands its first field back.
typedef struct {
  OrtCustomOp op;
  int kind, kernel;
} entry;

struct operators {
  const OrtApi *api;
  OrtCustomOpDomain *domain;
  entry entries[KINDS];
};

// A node is one of a graph's.
typedef struct {
  const OrtApi *api;
  int kind, kernel;
  float scale[2], epsilon;  // of products, as zero and out
  int64_t zero[2], out;
  int64_t heads;
} node;

static char *text(const OrtApi *api, OrtStatus *s) {
  char *m = strdup(api->GetErrorMessage(s));
  api->ReleaseStatus(s);
  return m;
}

#define TRY(call)                  \
  do {                             \
    OrtStatus *s_ = (call);        \
    if (s_) return s_;             \
  } while (0)

static OrtStatus *invalid(const OrtApi *api, const char *why) { return api->CreateStatus(ORT_INVALID_ARGUMENT, why); }

// A tensor is an input: where it lies, its dimensions and how many numbers it has; all 0 for one that is left out.
typedef struct {
  const void *data;
  int64_t dims[8];
  size_t rank, count;
  int there;
} tensor;

static OrtStatus *input(const OrtApi *api, const OrtKernelContext *c, size_t index, tensor *t) {
  const OrtValue *v;
  OrtTensorTypeAndShapeInfo *info;
  *t = (tensor){0};
  TRY(api->KernelContext_GetInput(c, index, &v));
  if (!v) return NULL;
  t->there = 1;
  TRY(api->GetTensorTypeAndShape(v, &info));
  OrtStatus *s = api->GetDimensionsCount(info, &t->rank);
  if (!s && t->rank > 8) s = invalid(api, "an input has more than eight dimensions");
  if (!s) s = api->GetDimensions(info, t->dims, t->rank);
  if (!s) s = api->GetTensorShapeElementCount(info, &t->count);
  api->ReleaseTensorTypeAndShapeInfo(info);
  if (!s) s = api->GetTensorData(v, &t->data);
  return s;
}

// empty tells an input that is there, and has no numbers, from one that is left out.
static int empty(const tensor *t) { return t->there && t->count == 0; }

// read reads the four inputs of a product from the index on, and holds them to each other.
static OrtStatus *read(const node *n, const OrtKernelContext *c, size_t index, int of, product *p) {
  tensor w, start, scale, bias;
  TRY(input(n->api, c, index, &w));
  TRY(input(n->api, c, index + 1, &start));
  TRY(input(n->api, c, index + 2, &scale));
  TRY(input(n->api, c, index + 3, &bias));
  if (w.rank != 4 || w.dims[2] != PANEL || w.dims[3] != QUAD || w.count == 0) return invalid(n->api, "weights are not [panels, quads, 32, 4]");
  size_t columns = (size_t)w.dims[0] * PANEL;
  if (start.count != columns || scale.count != columns || bias.count != columns) return invalid(n->api, "weights, starts, scales and biases are not of one number of columns");
  float inverse = 1 / n->scale[of];
  if (!(inverse > 0 && isfinite(inverse))) return invalid(n->api, "the scale of the input is no number above 0");
  *p = (product){w.data, start.data, scale.data, bias.data, w.dims[0], w.dims[1], inverse, (float)n->zero[of]};
  return NULL;
}

// output makes an output of the shape of t.
static OrtStatus *output(const OrtApi *api, OrtKernelContext *c, size_t index, const tensor *t, void **data) {
  OrtValue *y;
  TRY(api->KernelContext_GetOutput(c, index, t->dims, t->rank, &y));
  if (!y) return invalid(api, "an output has no name");
  return api->GetTensorMutableData(y, data);
}

// tasks are what the library's threads share.
typedef struct {
  const void *of;
  atomic_int failed;
} tasks;

static void run(void *of, size_t i) {
  tasks *t = of;
  if (run_task(t->of, (int64_t)i)) atomic_store(&t->failed, 1);
}

static void attend_head(void *of, size_t i) {
  tasks *t = of;
  if (run_head(t->of, (int64_t)i)) atomic_store(&t->failed, 1);
}

static OrtStatus *parallel(const OrtApi *api, const OrtKernelContext *c, void (*task)(void *, size_t), const void *of, int64_t count) {
  if (count == 0) return NULL;
  tasks t = {.of = of};
  TRY(api->KernelContext_ParallelFor(c, task, (size_t)count, 0, &t));
  return atomic_load(&t.failed) ? api->CreateStatus(ORT_FAIL, "no memory") : NULL;
}

static OrtStatus *multiply(const node *n, OrtKernelContext *c) {
  const OrtApi *api = n->api;
  int second = n->kind == MLP;
  tensor x;
  size_t outputs;
  TRY(input(api, c, 0, &x));
  TRY(api->KernelContext_GetOutputCount(c, &outputs));
  job j = {.x = x.data, .outputs = (int64_t)outputs, .out = n->out, .kernel = n->kernel};
  TRY(read(n, c, 1, 0, &j.first));
  if (second) TRY(read(n, c, 5, 1, &j.second));
  if (x.rank == 0) return invalid(api, "the input has no dimension");
  j.in = x.dims[x.rank - 1];
  if (j.in < 1 || (j.in + PANEL - 1) / PANEL * PANEL != j.first.quads * QUAD) return invalid(api, "the input is of another width than the weights");
  if (second && j.second.quads * QUAD != j.first.panels * PANEL) return invalid(api, "the second weights take in another width than the first give");
  const product *last = second ? &j.second : &j.first;
  if (outputs < 1 || outputs > 3 || j.out < 1 || (j.out + PANEL - 1) / PANEL * (int64_t)outputs != last->panels) return invalid(api, "the width of the outputs is another than that of the weights");
  j.rows = (int64_t)x.count / j.in;
  tensor gain, shift, residual;
  size_t optional = second ? 9 : 5;
  TRY(input(api, c, optional, &gain));
  TRY(input(api, c, optional + 1, &shift));
  TRY(input(api, c, optional + 2, &residual));
  if (empty(&gain) || empty(&shift) || empty(&residual)) return invalid(api, "gain, shift or residual is there and has no numbers");
  if (gain.count != shift.count || (gain.count && gain.count != (size_t)j.in)) return invalid(api, "gain and shift are not of the input's width");
  if (residual.count && (outputs != 1 || residual.count != (size_t)(j.rows * j.out))) return invalid(api, "the residual is of another shape than the output");
  j.gain = gain.data, j.shift = shift.data, j.residual = residual.data, j.epsilon = n->epsilon;
  // Several tasks for each thread, and several tiles in each task.
  j.chunk = j.rows < 480 ? 24 : 48;
  x.dims[x.rank - 1] = j.out;
  for (size_t i = 0; i < outputs; i++) {
    void *y;
    TRY(output(api, c, i, &x, &y));
    j.y[i] = y;
  }
  return parallel(api, c, run, &j, (j.rows + j.chunk - 1) / j.chunk);
}

static OrtStatus *attend(const node *n, OrtKernelContext *c) {
  const OrtApi *api = n->api;
  tensor q, k, v, bias;
  TRY(input(api, c, 0, &q));
  TRY(input(api, c, 1, &k));
  TRY(input(api, c, 2, &v));
  TRY(input(api, c, 3, &bias));
  if (q.rank != 3 || n->heads < 1 || q.dims[2] < n->heads || q.dims[2] % n->heads) return invalid(api, "queries are not [images, tokens, heads * width]");
  size_t shape = 3 * sizeof *q.dims;
  if (k.rank != 3 || v.rank != 3 || memcmp(k.dims, q.dims, shape) || memcmp(v.dims, q.dims, shape)) return invalid(api, "queries, keys and values are not of one shape");
  if (bias.rank != 2 || bias.dims[0] != q.dims[0] || bias.dims[1] != q.dims[1]) return invalid(api, "the bias is not [images, tokens]");
  attention a = {.q = q.data, .k = k.data, .v = v.data, .bias = bias.data, .images = q.dims[0], .tokens = q.dims[1],
                 .heads = n->heads, .width = q.dims[2] / n->heads, .kernel = n->kernel};
  a.scale = 1 / sqrtf((float)a.width);
  void *y;
  TRY(output(api, c, 0, &q, &y));
  a.y = y;
  return parallel(api, c, attend_head, &a, a.tokens > 0 ? a.images * a.heads : 0);
}

static OrtStatus *compute(void *of, OrtKernelContext *c) {
  const node *n = of;
  return n->kind == ATTENTION ? attend(n, c) : multiply(n, c);
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info, void **out) {
  const entry *e = (const entry *)op;
  node n = {.api = api, .kind = e->kind, .kernel = e->kernel};
  if (e->kind == ATTENTION) {
    TRY(api->KernelInfoGetAttribute_int64(info, "heads", &n.heads));
  } else {
    TRY(api->KernelInfoGetAttribute_int64(info, "width", &n.out));
    TRY(api->KernelInfoGetAttribute_float(info, "scale", &n.scale[0]));
    TRY(api->KernelInfoGetAttribute_int64(info, "zero", &n.zero[0]));
    TRY(api->KernelInfoGetAttribute_float(info, "epsilon", &n.epsilon));
  }
  if (e->kind == MLP) {
    TRY(api->KernelInfoGetAttribute_float(info, "hidden_scale", &n.scale[1]));
    TRY(api->KernelInfoGetAttribute_int64(info, "hidden_zero", &n.zero[1]));
  }
  node *of = malloc(sizeof *of);
  if (!of) return api->CreateStatus(ORT_FAIL, "no memory");
  *of = n;
  *out = of;
  return NULL;
}

static void destroy(void *of) { free(of); }

static const char *name(const OrtCustomOp *op) {
  static const char *const names[] = {"QuantizedLinear", "QuantizedMLP", "Attention"};
  return names[((const entry *)op)->kind];
}

static size_t inputs(const OrtCustomOp *op) {
  static const size_t counts[] = {8, 12, 4};
  return counts[((const entry *)op)->kind];
}

static ONNXTensorElementDataType type_input(const OrtCustomOp *op, size_t i) {
  int kind = ((const entry *)op)->kind;
  size_t in_product = (i + 3) % 4; // weights, starts, scales, biases
  if (kind == ATTENTION || i == 0 || i + 3 >= inputs(op) || in_product > 1) return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  return in_product == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
}

static const char *provider(const OrtCustomOp *op) { return (void)op, "CPUExecutionProvider"; }
static ONNXTensorElementDataType type_output(const OrtCustomOp *op, size_t i) { return (void)op, (void)i, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
static size_t one(const OrtCustomOp *op) { return (void)op, 1; }
static int one_at_least(const OrtCustomOp *op) { return (void)op, 1; }
static OrtMemType memory(const OrtCustomOp *op, size_t i) { return (void)op, (void)i, OrtMemTypeDefault; }
static OrtCustomOpInputOutputCharacteristic required(const OrtCustomOp *op, size_t i) {
  int kind = ((const entry *)op)->kind;
  return kind != ATTENTION && i + 3 >= inputs(op) ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
}
static OrtCustomOpInputOutputCharacteristic several(const OrtCustomOp *op, size_t i) {
  return (void)i, ((const entry *)op)->kind == LINEAR ? INPUT_OUTPUT_VARIADIC : INPUT_OUTPUT_REQUIRED;
}

operators *operators_open(const char *path, int kernel, char **message) {
  void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  const OrtApiBase *(*base)(void) = library ? (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase") : NULL;
  if (library) dlclose(library); // whoever opened it keeps it
  operators *o = calloc(1, sizeof *o);
  if (!base || !o) {
    *message = strdup(o ? "the library is not open, or has no OrtGetApiBase" : "no memory");
    free(o);
    return NULL;
  }
  if (!(o->api = base()->GetApi(ORT_API_VERSION))) {
    *message = strdup("the library is older than the operators");
    free(o);
    return NULL;
  }
  OrtStatus *s = o->api->CreateCustomOpDomain("radstream", &o->domain);
  for (int kind = 0; !s && kind < KINDS; kind++) {
    o->entries[kind] = (entry){
        .op = {.version = ORT_API_VERSION, .GetName = name, .GetExecutionProviderType = provider,
               .GetInputType = type_input, .GetInputTypeCount = inputs, .GetInputCharacteristic = required, .GetInputMemoryType = memory,
               .GetOutputType = type_output, .GetOutputTypeCount = one, .GetOutputCharacteristic = several,
               .GetVariadicOutputMinArity = one_at_least, .GetVariadicOutputHomogeneity = one_at_least,
               .CreateKernelV2 = create, .KernelComputeV2 = compute, .KernelDestroy = destroy},
        .kind = kind, .kernel = kernel};
    s = o->api->CustomOpDomain_Add(o->domain, &o->entries[kind].op);
  }
  if (s) {
    *message = text(o->api, s);
    operators_close(o);
    return NULL;
  }
  return o;
}

char *operators_add(operators *o, OrtSessionOptions *options) {
  OrtStatus *s = o->api->AddCustomOpDomain(options, o->domain);
  return s ? text(o->api, s) : NULL;
}

void operators_close(operators *o) {
  if (o->domain) o->api->ReleaseCustomOpDomain(o->domain);
  free(o);
}
