// What gotch cannot do, in C. A tensor is gotch's: a pointer to an at::Tensor. Each function
// returns NULL, or the message of what went wrong, to be freed by the caller.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *rt_tensor;

// rt_gelu is the exact GELU (gotch's leaks the name of the approximation at each call).
char *rt_gelu(rt_tensor x, rt_tensor *out);

// rt_backward adds the gradients of loss to the tensors that require them.
char *rt_backward(rt_tensor loss);

// rt_clip writes the L2 norm over the gradients of w and, where it is above most (> 0), scales
// them down to it. A norm that is no number leaves them as they are.
char *rt_clip(rt_tensor *w, int n, double most, double *norm);

// rt_adamw makes one fused AdamW step on w with the moments m and v and counts it in steps (one
// float32 a weight). Weights without a gradient are left out.
char *rt_adamw(rt_tensor *w, rt_tensor *m, rt_tensor *v, rt_tensor *steps, int n, double lr, double beta1, double beta2,
               double decay, double epsilon);

// rt_forget drops the gradients of w.
char *rt_forget(rt_tensor *w, int n);

// rt_gradient copies the gradient of w, as float64, to out (zeros where there is none).
char *rt_gradient(rt_tensor w, double *out, int64_t n);

// rt_read copies the n numbers of x, as float64, to out.
char *rt_read(rt_tensor x, double *out, int64_t n);

// rt_singular copies the n singular values of the matrix x to out.
char *rt_singular(rt_tensor x, double *out, int64_t n);

// rt_assign copies the numbers of x to the weight to.
char *rt_assign(rt_tensor to, rt_tensor x);

// rt_threads sets how many threads one operator may use.
char *rt_threads(int n);

// rt_trim gives free memory back to the system.
void rt_trim(void);

// rt_autocast lets matrix products of this thread, on the CPU or on CUDA, run in bfloat16, or ends
// that.
char *rt_autocast(int cuda, int on);

// rt_cuda brings in CUDA's kernels, which must happen before anything asks for them. Its message
// says why there is none.
char *rt_cuda(void);

#ifdef __cplusplus
}
#endif
