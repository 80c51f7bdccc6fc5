"""Running a graph on numbers while it is being compiled: sample inputs, the run, and how far two results are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves

from passprint.pipeline.torch_door import hint_of, on_real_tensors

#: Relative and absolute tolerance by dtype: what rounding in another order may do to a layer's result.
TOLERANCES: Mapping[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-8, 1e-8),
    torch.float32: (1e-4, 1e-5),
    torch.bfloat16: (3e-2, 3e-2),
    torch.float16: (3e-3, 3e-3),
}
_OTHER_FLOATS = (0.25, 0.25)  # float8 has two or three bits of mantissa
_LARGEST = 2**30  # bytes of inputs above which a graph is not run


class CannotRun(Exception):
    """A graph cannot be run on numbers here, and why."""


def sample_inputs(graph: Graph, seed: int = 0, *, largest: int = 1) -> list[Any]:
    """Inputs for ``graph`` made from its annotations: normal numbers, whole numbers to ``largest``, sizes as traced.

    Raises CannotRun where an input is not annotated, or where they would take more than a gigabyte.
    """
    generator = torch.Generator().manual_seed(seed)
    total = 0
    inputs: list[Any] = []
    for node in graph.nodes:
        if node.op != "placeholder":
            continue
        value = node.meta.get("val", node.meta.get("example_value"))
        if isinstance(value, torch.Tensor):
            total += value.element_size() * _elements(value)
            if total > _LARGEST:
                raise CannotRun("its inputs would take more than a gigabyte")
            inputs.append(_sample(value, generator, largest))
        elif isinstance(value, int | float | bool | torch.SymInt | torch.SymFloat | torch.SymBool):
            inputs.append(hint_of(value))
        else:
            raise CannotRun(f"input '{node.name}' has no meta['val'] to make a sample from")
    return inputs


def _elements(value: torch.Tensor) -> int:
    """How many elements of memory a tensor spans."""
    sizes = [_number(size) for size in value.shape]
    if 0 in sizes:
        return 0
    return 1 + sum((size - 1) * _number(stride) for size, stride in zip(sizes, value.stride(), strict=True))


def _number(size: Any) -> int:
    hint = hint_of(size)
    if hint is None:
        raise CannotRun("an input has a size that only data tells")
    return int(hint)


@on_real_tensors()
def _sample(value: torch.Tensor, generator: torch.Generator, largest: int) -> torch.Tensor:
    if value.layout is not torch.strided:
        raise CannotRun(f"an input has the layout {value.layout}")
    count = _elements(value)
    if value.dtype.is_floating_point or value.dtype.is_complex:
        wide = torch.complex64 if value.dtype.is_complex else torch.float32
        flat = torch.randn(count, generator=generator, dtype=wide).to(value.dtype)
    elif value.dtype is torch.bool:
        flat = torch.randint(0, 2, (count,), generator=generator).to(torch.bool)
    else:
        # indices most often: 0 and 1 are in range nearly everywhere
        flat = torch.randint(0, largest + 1, (count,), generator=generator).to(value.dtype)
    sizes, strides = [_number(s) for s in value.shape], [_number(s) for s in value.stride()]
    return torch.as_strided(flat.to(value.device), sizes, strides)


def run_graph(graph: Graph, inputs: Sequence[Any], seed: int = 0) -> list[Any]:
    """The outputs of ``graph`` and, after them, its inputs as it left them; random numbers start from ``seed``.

    ``inputs`` stay as they are. Raises CannotRun with the operator's own error.
    """
    module = graph.owning_module
    if not isinstance(module, GraphModule):
        module = GraphModule(torch.nn.Module(), graph)
    with on_real_tensors(), torch.random.fork_rng(devices=[]), torch.no_grad():
        given = [_copied(value) for value in inputs]
        torch.manual_seed(seed)
        try:
            result = _Runner(module, graph=graph).run(*given, enable_io_processing=False)
        except Exception as error:
            raise CannotRun(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}") from error
    return [*tree_leaves(result), *given]


def _copied(value: Any) -> Any:
    """A copy of a tensor with its strides."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        return value
    copy = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
    return copy.copy_(value)


class _Runner(Interpreter):
    """Runs a graph as it stands, and forgets values as soon as nothing needs them."""

    def run_node(self, n: Node) -> Any:
        # FX shows the source line of a failing node on the terminal; the error that is raised says enough
        return getattr(self, n.op)(n.target, *self.fetch_args_kwargs_from_env(n))


@dataclass(frozen=True)
class Difference:
    """Where two results differ most. ``output``: which one; ``index``: which element; ``by``: the difference."""

    output: str
    index: tuple[int, ...]
    before: Any
    after: Any
    by: float
    allowed: float

    def __str__(self) -> str:
        place = f"{self.output}{list(self.index) if self.index else ''}"
        return f"{place} was {self.before} and is {self.after}, {self.by:.3g} apart where {self.allowed:.3g} is allowed"


def largest_difference(
    before: Sequence[Any],
    after: Sequence[Any],
    outputs: int,
    tolerances: Mapping[torch.dtype, tuple[float, float]] = TOLERANCES,
) -> Difference | None:
    """The largest difference beyond its tolerance, or None. ``outputs``: how many values are outputs; then inputs."""
    worst: Difference | None = None
    for number, (ours, theirs) in enumerate(zip(before, after, strict=True)):
        name = f"output {number}" if number < outputs else f"input {number - outputs}, which is written to,"
        found = _compare(name, ours, theirs, tolerances)
        if found is not None and (worst is None or found.by > worst.by):
            worst = found
    return worst


@on_real_tensors()
def _compare(
    name: str, before: Any, after: Any, tolerances: Mapping[torch.dtype, tuple[float, float]]
) -> Difference | None:
    if not isinstance(before, torch.Tensor) or not isinstance(after, torch.Tensor):
        same = bool(before == after) or (before != before and after != after)
        return None if same else Difference(name, (), before, after, float("inf"), 0.0)
    if before.shape != after.shape or before.dtype != after.dtype:
        return Difference(name, (), _kind(before), _kind(after), float("inf"), 0.0)
    if before.numel() == 0:
        return None
    relative, absolute = _tolerance(before.dtype, tolerances)
    kind = torch.complex128 if before.dtype.is_complex else torch.float64
    ours, theirs = before.to(kind), after.to(kind)
    gap = (ours - theirs).abs()
    is_whole = not (before.dtype.is_floating_point or before.dtype.is_complex)
    same = before == after if is_whole else ours == theirs
    if is_whole:
        gap = gap.clamp(min=1.0)  # a float does not tell large whole numbers apart
    gap = torch.where(same | (ours.isnan() & theirs.isnan()), 0.0, gap).nan_to_num(float("inf"))
    # an element that cancels to nearly nothing is judged by the size of its neighbours
    scale = torch.where(ours.abs().isfinite(), ours.abs(), 0.0)
    allowed = absolute * max(1.0, float(scale.mean())) + relative * scale
    excess = gap - allowed
    if not bool((excess > 0).any()):
        return None
    at = int(excess.argmax())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(at), before.shape))
    return Difference(
        name, index, before[index].item(), after[index].item(), float(gap[index]), float(allowed[index])
    )


def _tolerance(
    dtype: torch.dtype, tolerances: Mapping[torch.dtype, tuple[float, float]]
) -> tuple[float, float]:
    """Relative and absolute; a complex number is judged as its parts are, a whole number must be equal."""
    if dtype in tolerances:
        return tolerances[dtype]
    if dtype.is_complex:
        return tolerances.get(dtype.to_real(), _OTHER_FLOATS)
    return _OTHER_FLOATS if dtype.is_floating_point else (0.0, 0.0)


def _kind(value: torch.Tensor) -> str:
    return f"{value.dtype}{list(value.shape)}"
