"""The CUDA driver's calls that the launcher makes, through NVIDIA's own bindings, with errors in words.

They act on the context that is current, whoever made it: pycuda, torch, TensorRT or ONNX Runtime. So the
kernels run beside any of them on their streams and pointers. cuda.core's own `launch` is not used, because
it takes no struct by value.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from gaitstream.errors import KernelError, MissingExtraError


class Driver:
    """The driver of this machine.

    Raises:
        MissingExtraError: cuda-bindings are not installed.
        KernelError: there is no driver, or it finds no GPU.
    """

    def __init__(self) -> None:
        try:
            from cuda.bindings import driver
        except ImportError as error:
            raise MissingExtraError("cuda-core", "gpu", "Launching the GPU kernels") from error
        self._cuda = driver
        try:
            self._call("cuInit", 0)
        except (RuntimeError, OSError) as error:
            raise KernelError(
                "no CUDA driver (libcuda.so.1 does not load): use backend='cpu', or install NVIDIA's driver"
            ) from error

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *values = getattr(self._cuda, name)(*arguments)
        if code == self._cuda.CUresult.CUDA_ERROR_INVALID_CONTEXT:
            raise KernelError(
                "no CUDA context is current in this thread: create one (import pycuda.autoprimaryctx), "
                "or call from the thread that owns the engine"
            )
        if code != self._cuda.CUresult.CUDA_SUCCESS:
            _, text = self._cuda.cuGetErrorString(code)
            raise KernelError(f"{name} failed: {(text or b'unknown error').decode()} ({int(code)})")
        return values[0] if values else None

    def context(self) -> int:
        """Handle of the current context, 0 without one."""
        return int(self._call("cuCtxGetCurrent"))

    def capability(self) -> tuple[int, int]:
        """Compute capability of the current device."""
        names = self._cuda.CUdevice_attribute
        return (
            self._attribute(names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(names.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )

    def shared_limit(self) -> int:
        """Bytes of shared memory that one block may ask for."""
        names = self._cuda.CUdevice_attribute
        return self._attribute(names.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)

    def load(self, image: bytes) -> Any:
        """Load a fatbin, cubin or PTX into the current context."""
        return self._call("cuModuleLoadData", image)

    def function(self, module: Any, name: str, shared_bytes: int = 0) -> Any:
        """A kernel of a module, allowed to use that much dynamic shared memory."""
        function = self._call("cuModuleGetFunction", module, name.encode())
        if shared_bytes:
            kind = self._cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call("cuFuncSetAttribute", function, kind, shared_bytes)
        return function

    def launch(
        self,
        function: Any,
        grid: tuple[int, int],
        threads: int,
        shared_bytes: int,
        stream: int,
        *arguments: Any,
    ) -> None:
        """Launch with ctypes values, each in the kernel's own type; does not wait."""
        places = (ctypes.c_void_p * len(arguments))(
            *(ctypes.cast(ctypes.byref(argument), ctypes.c_void_p) for argument in arguments)
        )
        self._call(
            "cuLaunchKernel",
            function,
            *grid,
            1,
            threads,
            1,
            1,
            shared_bytes,
            stream,
            ctypes.addressof(places),
            0,
        )

    def fill(self, pointer: int, value: int, count: int, stream: int) -> None:
        """Set bytes of device memory, in stream order."""
        self._call("cuMemsetD8Async", pointer, value, count, stream)

    def _attribute(self, attribute: Any) -> int:
        return int(self._call("cuDeviceGetAttribute", attribute, self._call("cuCtxGetDevice")))


@functools.cache
def open_driver() -> Driver:
    """The machine's CUDA driver.

    Raises:
        KernelError: there is none.
        MissingExtraError: cuda-bindings are not installed.
    """
    return Driver()
