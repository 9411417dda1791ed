//go:build torch

#include "shim.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/autocast_mode.h>

#include <dlfcn.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

namespace {

template <typename F> char *guarded(F f) {
  try {
    f();
    return nullptr;
  } catch (const c10::Error &e) {
    return strdup(e.what_without_backtrace());
  } catch (const std::exception &e) {
    return strdup(e.what());
  }
}

at::Tensor &of(rt_tensor t) { return *static_cast<at::Tensor *>(t); }

void copy(const at::Tensor &x, double *out, int64_t n) {
  at::Tensor y = x.detach().to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK(y.numel() == n, "the tensor has another size");
  memcpy(out, y.const_data_ptr(), n * sizeof(double));
}

} // namespace

char *rt_gelu(rt_tensor x, rt_tensor *out) {
  return guarded([&] { *out = new at::Tensor(at::gelu(of(x))); });
}

char *rt_backward(rt_tensor loss) {
  return guarded([&] { of(loss).backward(); });
}

char *rt_clip(rt_tensor *w, int n, double most, double *norm) {
  return guarded([&] {
    at::NoGradGuard guard;
    std::vector<at::Tensor> grads;
    for (int i = 0; i < n; i++)
      if (of(w[i]).grad().defined()) grads.push_back(of(w[i]).grad());
    *norm = 0;
    if (grads.empty()) return;
    *norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads))).item<double>();
    if (most > 0 && *norm > most) at::_foreach_mul_(grads, at::Scalar(most / *norm));
  });
}

char *rt_adamw(rt_tensor *w, rt_tensor *m, rt_tensor *v, rt_tensor *steps, int n, double lr, double beta1, double beta2,
               double decay, double epsilon) {
  return guarded([&] {
    at::NoGradGuard guard;
    std::vector<at::Tensor> weights, grads, first, second, counts;
    for (int i = 0; i < n; i++) {
      if (!of(w[i]).grad().defined()) continue;
      weights.push_back(of(w[i]));
      grads.push_back(of(w[i]).grad());
      first.push_back(of(m[i]));
      second.push_back(of(v[i]));
      counts.push_back(of(steps[i]));
    }
    if (weights.empty()) return;
    at::_foreach_add_(counts, at::Scalar(1)); // the kernel reads the count of this step
    at::_fused_adamw_(weights, grads, first, second, {}, counts, lr, beta1, beta2, decay, epsilon, false, false);
  });
}

char *rt_forget(rt_tensor *w, int n) {
  return guarded([&] {
    for (int i = 0; i < n; i++) of(w[i]).mutable_grad().reset();
  });
}

char *rt_gradient(rt_tensor w, double *out, int64_t n) {
  return guarded([&] {
    std::fill(out, out + n, 0.0);
    if (of(w).grad().defined()) copy(of(w).grad(), out, n);
  });
}

char *rt_read(rt_tensor x, double *out, int64_t n) {
  return guarded([&] { copy(of(x), out, n); });
}

char *rt_singular(rt_tensor x, double *out, int64_t n) {
  return guarded([&] {
    at::NoGradGuard guard;
    copy(at::linalg_svdvals(of(x)), out, n);
  });
}

char *rt_assign(rt_tensor to, rt_tensor x) {
  return guarded([&] {
    at::NoGradGuard guard;
    of(to).copy_(of(x).view_as(of(to)));
  });
}

char *rt_threads(int n) {
  return guarded([&] {
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 64 << 20);
    at::set_num_threads(n);
  });
}

void rt_trim() { malloc_trim(0); }

char *rt_autocast(int cuda, int on) {
  return guarded([&] {
    at::DeviceType device = cuda ? at::kCUDA : at::kCPU;
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, on != 0);
    if (!on) at::autocast::clear_cache();
  });
}

char *rt_cuda() {
  return guarded([&] {
    TORCH_CHECK(dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr, dlerror());
    TORCH_CHECK(at::globalContext().hasCUDA(), "no GPU answers");
  });
}
