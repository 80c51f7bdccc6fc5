"""`check_pass`: what every pass should hold, in one call."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.fx import Graph
from torch.utils._pytree import tree_leaves

from passprint.errors import PassError, PipelineError
from passprint.passes import CompileRange, pass_context
from passprint.pipeline import PassManager
from passprint.pipeline.effects import draws_random_numbers
from passprint.pipeline.execution import TOLERANCES, largest_difference
from passprint.pipeline.graph_text import difference, graph_text, structure_text
from passprint.pipeline.instruments.numerics import Numerics
from passprint.pipeline.instruments.statistics import Statistics
from passprint.pipeline.instruments.verify import Verify
from passprint.pipeline.snapshots import copy_graph
from passprint.testing.capture import capture_graphs, own_copies
from passprint.testing.goldens import golden_fault


class CheckFailed(AssertionError):
    """A pass did not hold what `check_pass` asks. ``check`` is which: "verify", "numerics", "golden", …"""

    def __init__(self, check: str, message: str) -> None:
        super().__init__(f"{check}: {message}")
        self.check = check


@dataclass
class CheckedPass:
    """What `check_pass` saw: ``rewrites``, matches by pattern, and each graph as text before and after the pass."""

    rewrites: int
    patterns: dict[str, int]
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def check_pass(
    pass_: Any,
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    dynamic: bool | Mapping[int, Sequence[int]] | None = None,
    hook: str = "post_grad_post",
    rewrites: int | None = None,
    golden: str | Path | None = None,
    different: Any | None = None,
    idempotent: bool = True,
    tolerances: Mapping[torch.dtype, tuple[float, float]] | None = None,
) -> CheckedPass:
    """Run ``pass_`` on the graphs that Inductor makes of ``fn(*inputs)``, and check all that can be checked.

    - **verify**: the graph is sound after the pass, by `passprint.instruments.Verify`; twice the same graph;
    - **numerics**: the graph gives the same before and after; the compiled function gives what ``fn`` gives (unless
      it draws random numbers, which compiled code draws in another way);
    - **idempotent**: a second run of the pass changes nothing (say ``idempotent=False`` where that is not so);
    - **identity**: the pass has a ``uuid()``, a copy has the same one, and so has what its text spells;
      ``different``, the pass with another option, has another one;
    - **rewrites**: as many as said;
    - **golden**: the graphs before and after are those of the file; ``PASSPRINT_UPDATE_GOLDENS=1`` writes it.

    ``inputs``: positional arguments of ``fn``. ``dynamic``, ``hook``: as in `capture_graphs`. ``tolerances``: relative
    and absolute by dtype, over the defaults. Raises CheckFailed (an AssertionError) with the check's name, and
    TypeError for a ``golden`` that is no path.
    """
    __tracebackhide__ = True  # pytest then shows the test's own line alone
    if isinstance(golden, bool):
        raise TypeError(
            f"golden={golden} was given to the function check_pass, which takes a path. `True` needs to know the test: "
            "take check_pass as a pytest fixture, `def test_it(check_pass): ...`, or name the file"
        )
    allowed = {**TOLERANCES, **(tolerances or {})}
    statistics = Statistics()
    seen = CheckedPass(0, {})
    manager = PassManager(
        [pass_],
        hook=hook,
        instruments=[Verify(repeat=True), Numerics(tolerances=tolerances), statistics],
    )

    is_random = False

    def hooked(graph: Graph) -> None:
        nonlocal is_random
        is_random = is_random or draws_random_numbers(graph)
        seen.before.append(graph_text(graph))
        manager(graph)
        seen.after.append(graph_text(graph))
        if idempotent:
            _check_idempotent(pass_, graph)

    with pass_context(CompileRange.any()):
        result = _compiled(fn, inputs, hook, dynamic, hooked)
    if not is_random:
        _check_result(result, fn(*own_copies(inputs)), allowed)
    for one in statistics.passes.values():
        seen.rewrites += one.rewrites
        seen.patterns.update(one.patterns)
    if rewrites is not None and seen.rewrites != rewrites:
        shown = "\n".join(seen.before)
        raise CheckFailed("rewrites", f"{rewrites} expected, {seen.rewrites} made on\n{shown}")
    _check_identity(pass_, different)
    if golden is not None:
        fault = golden_fault(Path(golden), _golden_text(seen))
        if fault is not None:
            raise CheckFailed("golden", fault)
    return seen


def _compiled(fn: Any, inputs: Any, hook: str, dynamic: Any, hooked: Callable[[Graph], None]) -> Any:
    __tracebackhide__ = True
    try:
        return capture_graphs(fn, inputs, hook=hook, dynamic=dynamic, pipeline=hooked).result
    except Exception as error:
        ours = _own_cause(error)
        if isinstance(ours, CheckFailed):
            raise ours.with_traceback(None) from None
        if isinstance(ours, PassError):
            check = "numerics" if "results" in str(ours) or "cannot be run" in str(ours) else "verify"
            # torch's frames say nothing of the pass; what the pass itself raised does
            raise CheckFailed(check, str(ours)) from ours.__cause__
        raise


def _own_cause(error: BaseException) -> BaseException | None:
    """The error of ours that torch wrapped, or None."""
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, CheckFailed | PassError):
            return current
        current = getattr(current, "inner_exception", None) or current.__cause__ or current.__context__
    return None


def _check_idempotent(pass_: Any, graph: Graph) -> None:
    again = copy_graph(graph)
    before = structure_text(again)
    with pass_context(CompileRange.any()):
        pass_(again)
    after = structure_text(again)
    if before != after:
        diff = difference(before, after, ("after one run", "after two"))
        raise CheckFailed("idempotent", f"a second run changes the graph again\n{diff}")


def _check_result(found: Any, expected: Any, allowed: Mapping[torch.dtype, tuple[float, float]]) -> None:
    __tracebackhide__ = True
    ours, theirs = tree_leaves(expected), tree_leaves(found)
    if len(ours) != len(theirs):
        raise CheckFailed("numerics", f"the function gives {len(ours)} results, compiled {len(theirs)}")
    ours, theirs = (
        [value.detach() if isinstance(value, torch.Tensor) else value for value in values]
        for values in (ours, theirs)
    )
    gap = largest_difference(ours, theirs, len(ours), allowed)
    if gap is not None:
        raise CheckFailed("numerics", f"compiled with the pass, the function gives something else: {gap}")


def _check_identity(pass_: Any, different: Any | None) -> None:
    __tracebackhide__ = True
    uuid = pass_.uuid()
    if not uuid:
        raise CheckFailed("identity", f"{pass_!r} has no uuid(), so nothing compiled with it is cached")
    if copy.deepcopy(pass_).uuid() != uuid:
        raise CheckFailed("identity", f"a copy of {pass_!r} has another uuid()")
    try:
        pickled = pickle.dumps(pass_)
    except (pickle.PicklingError, AttributeError, TypeError):
        pickled = None  # a class made within a function cannot be pickled, and torch does not ask for it
    if pickled is not None and pickle.loads(pickled).uuid() != uuid:
        raise CheckFailed("identity", f"{pass_!r}, pickled and loaded, has another uuid()")
    if different is not None and different.uuid() == uuid:
        raise CheckFailed("identity", f"{pass_!r} and {different!r} are different and have the same uuid()")
    try:
        parsed = PassManager.parse(str(pass_)).passes
    except PipelineError:
        return  # not registered, or claimed by another class of a test
    if len(parsed) == 1 and type(parsed[0]) is type(pass_) and parsed[0].uuid() != uuid:
        raise CheckFailed("identity", f"the text {str(pass_)!r} spells a pass with another uuid()")


def _golden_text(seen: CheckedPass) -> str:
    parts = []
    for number, (before, after) in enumerate(zip(seen.before, seen.after, strict=True)):
        title = f"graph {number}" if len(seen.before) > 1 else "graph"
        parts.append(f"# {title} before\n{before}\n# {title} after\n{after}")
    return "\n".join(parts)
