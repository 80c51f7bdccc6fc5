"""A torch built for CUDA on a machine without a GPU: Inductor and Triton compile for one that is made up.

Everything up to the binary is real (Inductor's kernels, Triton's compiler, ``ptxas``, the bundle that torch makes of
the binaries); only what would speak to a driver is replaced. Nothing can be run. Read against torch 2.11, Triton 3.6.

As a script: ``pack FILE`` compiles a small graph and packs it, ``load FILE`` loads it; each prints JSON.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

_GPU = SimpleNamespace(
    name="a GPU that is made up",
    major=9,
    minor=0,
    multi_processor_count=132,
    warp_size=32,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448,
    shared_memory_per_multiprocessor=233472,
    L2_cache_size=50 << 20,
    total_memory=1 << 37,
    gcnArchName="",
)


def pretend() -> None:
    """Replace what speaks to a driver, for the rest of the process."""
    import torch._dynamo.device_interface as interface
    import torch._inductor.config as config
    import torch._inductor.fx_passes.joint_graph as joint_graph
    import torch._inductor.runtime.static_triton_launcher as launcher
    import torch._inductor.runtime.triton_helpers as helpers
    import torch._subclasses.fake_tensor as fake_tensor
    import triton
    from torch._inductor.codegen.wrapper import PythonWrapperCodegen
    from triton.backends.compiler import GPUTarget

    class Driver:
        utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": 1 << 18, "warpSize": _GPU.warp_size},
            load_binary=lambda name, binary, *facts: (1, 1, 1, 0, 1024),
        )

        @staticmethod
        def launcher_cls(source: Any, metadata: Any) -> Any:
            return lambda *args: None

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 10 * _GPU.major + _GPU.minor, _GPU.warp_size)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int) -> int:
            return 0

    def put(owner: Any, **replacements: Any) -> None:
        for name, value in replacements.items():
            assert hasattr(owner, name) or owner is torch.cuda, f"{owner} has no {name}"
            setattr(owner, name, value)

    def load_kernel(self: Any, device: int) -> None:
        assert self.cubin_path is not None
        assert Path(self.cubin_path).read_bytes()[:4] == b"\x7fELF"
        self.function, self.n_regs, self.n_spills, self.cubin_raw = 1, 1, 0, None

    triton.runtime.driver.set_active(Driver())
    put(
        torch.cuda,
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        get_device_capability=lambda device=None: (_GPU.major, _GPU.minor),
        get_device_properties=lambda device=None: _GPU,
        _get_device_properties=lambda device: _GPU,
        _lazy_init=lambda: None,
        get_rng_state=lambda *device: torch.zeros(16, dtype=torch.uint8),
        set_rng_state=lambda *state: None,
    )
    put(torch.cuda.device, __enter__=lambda self: None, __exit__=lambda self, *error: False)
    put(torch._C, _cuda_getDevice=lambda: 0, _cuda_getCurrentRawStream=lambda device: 0)
    put(interface.DeviceGuard, __enter__=lambda self: None, __exit__=lambda self, *error: False)
    put(fake_tensor, init_gpu_context=lambda device: None)
    put(joint_graph, lazy_init=lambda device=None: None)  # traces patterns on the device
    put(helpers, set_driver_to_gpu=lambda: None)
    put(PythonWrapperCodegen, generate_and_run_autotune_block=lambda self: None)
    put(launcher.StaticallyLaunchedTritonKernel, load_kernel=load_kernel)
    put(launcher.StaticallyLaunchedCudaKernel, load_kernel=load_kernel)
    config.compile_threads = 1


class Compilations:
    """How often Triton compiled a kernel, rather than take it from its folder."""

    def __init__(self) -> None:
        from triton.backends.nvidia.compiler import CUDABackend

        self.count = 0
        real = CUDABackend.make_cubin

        def make_cubin(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return real(*args, **kwargs)

        CUDABackend.make_cubin = make_cubin


def main(what: str, file: Path) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from passprint.compiler.artifacts.artifact import pack, unpack
    from passprint.compiler.lowering import inductor

    pretend()
    compilations = Compilations()
    if what == "pack":
        mode = FakeTensorMode(shape_env=ShapeEnv())
        with mode:
            x = torch.empty(64, 64, device="cuda")
        graph = make_fx(lambda x: (torch.relu(x) * 2 + 1,))(x)
        made = inductor.compile_graph(graph, [x], fake_mode=mode, serializable=True)
        assert made.payload is not None
        packed = pack(made.payload, grad=False)
        file.write_bytes(pickle.dumps((packed.form, packed.portable())))
    else:
        form, files = pickle.loads(file.read_bytes())
        entry = SimpleNamespace(read=files.__getitem__, path=files.__getitem__)
        assert callable(unpack(form, entry, "piece"))
    print(json.dumps({"form": pickle.loads(file.read_bytes())[0], "compilations": compilations.count}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
