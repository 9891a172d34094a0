"""The few calls of the CUDA driver that a launcher needs, through ctypes.

They act on the context that is current, whoever made it: pycuda, torch, TensorRT or ONNX Runtime. So the
kernels run beside any of them on their streams and pointers, and need no CUDA package of their own.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from gaitstream.errors import KernelError

_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76
_SHARED_OPT_IN = 97
_FUNCTION_SHARED = 8
_NO_CONTEXT = 201


class Driver:
    """A loaded driver library.

    Attributes:
        library: the ctypes handle.
    """

    def __init__(self, path: str = "libcuda.so.1") -> None:
        try:
            self.library = ctypes.CDLL(path)
        except OSError as error:
            raise KernelError(
                f"no CUDA driver ({path} does not load): use backend='cpu', or install NVIDIA's driver"
            ) from error
        self._call("cuInit", 0)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(*arguments)
        if code == _NO_CONTEXT:
            raise KernelError(
                "no CUDA context is current in this thread: create one (import pycuda.autoprimaryctx), "
                "or call from the thread that owns the engine"
            )
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(text))
            raise KernelError(f"{name} failed: {(text.value or b'unknown error').decode()} ({code})")

    def device(self) -> int:
        """The current context's device."""
        device = ctypes.c_int()
        self._call("cuCtxGetDevice", ctypes.byref(device))
        return device.value

    def context(self) -> int:
        """Handle of the current context, 0 without one."""
        context = ctypes.c_void_p()
        self._call("cuCtxGetCurrent", ctypes.byref(context))
        return context.value or 0

    def attribute(self, number: int) -> int:
        """A device attribute of the current device."""
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self.device())
        return value.value

    def capability(self) -> tuple[int, int]:
        """Compute capability of the current device."""
        return self.attribute(_COMPUTE_MAJOR), self.attribute(_COMPUTE_MINOR)

    def shared_limit(self) -> int:
        """Bytes of shared memory that one block may ask for."""
        return self.attribute(_SHARED_OPT_IN)

    def load(self, image: bytes) -> ctypes.c_void_p:
        """Load a fatbin, cubin or PTX into the current context."""
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(image))
        return module

    def function(self, module: ctypes.c_void_p, name: str, shared_bytes: int = 0) -> ctypes.c_void_p:
        """A kernel of a module, allowed to use that much dynamic shared memory."""
        function = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        if shared_bytes:
            self._call("cuFuncSetAttribute", function, _FUNCTION_SHARED, shared_bytes)
        return function

    def launch(
        self,
        function: ctypes.c_void_p,
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
            *(ctypes.c_uint(size) for size in (*grid, 1, threads, 1, 1, shared_bytes)),
            ctypes.c_void_p(stream),
            places,
            None,
        )

    def fill(self, pointer: int, value: int, count: int, stream: int) -> None:
        """Set bytes of device memory, in stream order."""
        self._call(
            "cuMemsetD8Async",
            ctypes.c_uint64(pointer),
            ctypes.c_ubyte(value),
            ctypes.c_size_t(count),
            ctypes.c_void_p(stream),
        )


@functools.cache
def open_driver() -> Driver:
    """The machine's CUDA driver.

    Raises:
        KernelError: there is none.
    """
    return Driver()
