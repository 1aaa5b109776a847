"""Container runtimes that bring a kernel of their own."""

from __future__ import annotations

# gVisor and Kata Containers: the host's seccomp filter does not reach inside, files have other numbers there, and much of what
# /proc says of a process is left out.
_OWN_KERNELS = ("runsc", "kata", "io.containerd.runsc", "io.containerd.kata")


def has_own_kernel(runtime: str | None) -> bool:
    return runtime is not None and runtime.startswith(_OWN_KERNELS)
