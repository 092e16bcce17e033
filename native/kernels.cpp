#include "kernels.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

namespace munjang {

void* aligned(size_t bytes) {
  void* p = std::aligned_alloc(64, (bytes + 127) / 64 * 64);
  if (!p) throw std::bad_alloc();
  return p;
}

void release(void* p) { std::free(p); }

namespace {
const Kernels* const* every() {
  static const Kernels* const found[] = {
#if defined(__x86_64__)
      &avx512vnni(), &avx2vnni(), &avx2(),
#endif
      &plain(), nullptr};
  return found;
}
}  // namespace

const Kernels& kernels_named(const char* name) {
  for (auto one = every(); *one; one++)
    if ((*one)->available() && (!*name || !std::strcmp(name, (*one)->name))) return **one;
  throw std::invalid_argument(std::string("this processor has no kernels called ") + name);
}

std::vector<const char*> kernel_names() {
  std::vector<const char*> names;
  for (auto one = every(); *one; one++)
    if ((*one)->available()) names.push_back((*one)->name);
  return names;
}

void in_threads(int count, int threads, void (*task)(void*, int, int), void* context) {
  if (threads > count) threads = count;
  if (threads <= 1) {
    for (int i = 0; i < count; i++) task(context, i, 0);
    return;
  }
  std::atomic<int> next{0};
  std::exception_ptr failed;
  std::mutex lock;
  auto loop = [&](int worker) {
    try {
      for (int i; (i = next.fetch_add(1)) < count;) task(context, i, worker);
    } catch (...) {
      const std::lock_guard<std::mutex> held(lock);
      if (!failed) failed = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> others;
  for (int worker = 1; worker < threads; worker++) others.emplace_back(loop, worker);
  loop(0);
  for (auto& one : others) one.join();
  if (failed) std::rethrow_exception(failed);
}

}  // namespace munjang
