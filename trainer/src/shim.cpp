// What libtorch does for whole lists of tensors at once, and its switches: tch binds neither.
//
// Every function returns null, or words about what went wrong that the caller frees.

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include <cstring>
#include <exception>
#include <vector>

namespace {

using List = at::Tensor *const *;

std::vector<at::Tensor> list(List tensors, size_t n) {
  std::vector<at::Tensor> result;
  result.reserve(n);
  for (size_t i = 0; i < n; ++i) result.push_back(*tensors[i]);
  return result;
}

template <class F> char *guarded(F work) {
  try {
    c10::AutoGradMode no_gradients(false);
    work();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown error");
  }
}

} // namespace

extern "C" {

char *shim_adam(List params, List gradients, List first, List second, size_t n, const at::Tensor *steps, double rate,
                double beta1, double beta2, double eps, double decay, bool decoupled, const at::Tensor *overflow) {
  return guarded([&] {
    auto p = list(params, n), g = list(gradients, n), m = list(first, n), v = list(second, n);
    std::vector<at::Tensor> t(n, *steps);
    std::optional<at::Tensor> found;
    if (overflow) found = *overflow;
    if (decoupled)
      at::_fused_adamw_(p, g, m, v, {}, t, rate, beta1, beta2, decay, eps, false, false, {}, found);
    else
      at::_fused_adam_(p, g, m, v, {}, t, rate, beta1, beta2, decay, eps, false, false, {}, found);
  });
}

char *shim_lerp(List into, List towards, size_t n, double weight) {
  return guarded([&] { at::_foreach_lerp_(list(into, n), list(towards, n), at::Scalar(weight)); });
}

char *shim_norm(List tensors, size_t n, at::Tensor **norm) {
  return guarded([&] { *norm = new at::Tensor(at::linalg_vector_norm(at::stack(at::_foreach_norm(list(tensors, n), 2)), 2)); });
}

char *shim_scale(List tensors, size_t n, const at::Tensor *factor) {
  return guarded([&] { at::_foreach_mul_(list(tensors, n), *factor); });
}

char *shim_unscale(List tensors, size_t n, at::Tensor *overflow, const at::Tensor *inverse) {
  return guarded([&] { at::_amp_foreach_non_finite_check_and_unscale_(list(tensors, n), *overflow, *inverse); });
}

char *shim_forget_gradients(List tensors, size_t n) {
  return guarded([&] {
    for (size_t i = 0; i < n; ++i) tensors[i]->mutable_grad().reset();
  });
}

char *shim_autocast(bool cuda, bool bfloat16, bool enter) {
  return guarded([&] {
    auto device = cuda ? at::kCUDA : at::kCPU;
    if (enter) {
      at::autocast::set_autocast_dtype(device, bfloat16 ? at::kBFloat16 : at::kHalf);
      at::autocast::increment_nesting();
    } else if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_enabled(device, enter);
  });
}

char *shim_switches(bool deterministic, bool tf32) {
  return guarded([&] {
    auto &context = at::globalContext();
    context.setDeterministicAlgorithms(deterministic, false);
    context.setDeterministicCuDNN(deterministic);
    context.setBenchmarkCuDNN(!deterministic);
    context.setAllowTF32CuDNN(tf32);
    context.setAllowTF32CuBLAS(tf32);
  });
}

char *shim_switched(bool *deterministic, bool *tf32) {
  return guarded([&] {
    auto &context = at::globalContext();
    *deterministic = context.deterministicAlgorithms() && context.deterministicCuDNN();
    *tf32 = context.allowTF32CuDNN() && context.allowTF32CuBLAS();
  });
}

// Whether the CUDA device multiplies bfloat16 itself. Only where there is one.
char *shim_bfloat16(bool *supported) {
  return guarded([&] { *supported = at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8(); });
}

} // extern "C"
