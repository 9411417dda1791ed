// Forced in (-include) before gotch's C++, which was generated for libtorch 2.1, so that it
// compiles against libtorch 2.11. The name carries both versions because Go's build cache
// looks at flags, not at what a forced header contains: rename the file when it changes.
#pragma once
#ifdef __cplusplus
#include <ATen/ATen.h>

namespace torch {

// Three functions have other parameters now. Nobody here calls them: they throw.
inline at::Tensor _cslt_sparse_mm(const at::Tensor &, const at::Tensor &, const at::Tensor &, bool) {
  TORCH_CHECK(false, "_cslt_sparse_mm is not available");
}
inline std::tuple<at::Tensor, at::Tensor> _scaled_mm(const at::Tensor &, const at::Tensor &, const at::Tensor &,
                                                     std::optional<at::ScalarType>, const at::Tensor &,
                                                     const at::Tensor &, const at::Tensor &) {
  TORCH_CHECK(false, "_scaled_mm is not available");
}
inline std::tuple<at::Tensor, at::Tensor> _scaled_mm_out(const at::Tensor &, const at::Tensor &, const at::Tensor &,
                                                         const at::Tensor &, const at::Tensor &,
                                                         std::optional<at::ScalarType>, const at::Tensor &,
                                                         const at::Tensor &, const at::Tensor &) {
  TORCH_CHECK(false, "_scaled_mm_out is not available");
}

// gotch says "no mask" with an undefined tensor; libtorch 2.11 wants nullopt.
inline at::Tensor scaled_dot_product_attention(const at::Tensor &query, const at::Tensor &key, const at::Tensor &value,
                                               const at::Tensor &mask, double dropout, bool causal,
                                               std::optional<double> scale) {
  return at::scaled_dot_product_attention(query, key, value, mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt,
                                          dropout, causal, scale);
}

} // namespace torch
#endif
