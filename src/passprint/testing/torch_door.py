"""The one place of this room that touches private torch names: Inductor up to one of its hooks, and no further.

Read and run on torch 2.11, 2.12 and 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule


def compile_without_code(
    fn: Callable[..., Any], patches: dict[str, Any], dynamic: bool | None
) -> Callable[..., Any]:
    """``fn`` as ``torch.compile`` runs it with Inductor's graph passes and these settings, operator by operator.

    The graphs are the ones of a real compile, without the seconds that generated code takes. Nothing is cached.
    """
    import torch._dynamo as dynamo
    from torch._functorch import config as functorch_config
    from torch._inductor import compile_fx as inductor
    from torch._inductor import config

    compile_fx: Any = inductor
    functorch: Any = functorch_config

    if hasattr(config, "pre_grad_pass_timing"):  # since 2.12; by itself, torch warns that nothing is cached
        patches = {"pre_grad_pass_timing": "early", **patches}

    def inner_compile(
        module: GraphModule, inputs: Sequence[Any], **options: Any
    ) -> Callable[[list[Any]], Any]:
        from torch._inductor.virtualized import V

        compile_fx.view_to_reshape(module)
        mode = compile_fx.fake_tensor_prop(module, inputs)
        with V.set_fake_mode(mode), config.patch(patches):  # a backward graph is lowered later
            compile_fx._recursive_post_grad_passes(module, is_inference=options.get("is_inference", False))

        def run(arguments: list[Any]) -> Any:
            values = list(arguments)
            arguments.clear()
            return module(*values)

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    def backend(module: GraphModule, inputs: Sequence[Any], **_: Any) -> Any:
        with config.patch(patches), functorch.patch(enable_autograd_cache=False):
            return compile_fx.compile_fx(module, inputs, inner_compile=inner_compile)

    dynamo.reset()
    compiled: Callable[..., Any] = torch.compile(fn, fullgraph=True, backend=backend, dynamic=dynamic)
    return compiled


def mark_dynamic(tensor: torch.Tensor, dimension: int) -> None:
    """Say that a dimension varies."""
    import torch._dynamo as dynamo

    dynamo.mark_dynamic(tensor, dimension)
