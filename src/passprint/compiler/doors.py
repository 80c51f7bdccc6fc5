"""torch's own doors: ``torch.compile(…, backend="passprint")``, and all that opens it.

``module.compile(backend="passprint")``, transformers' ``CompileConfig(backend="passprint")`` and the settings of other
libraries end there. A back end is asked only once a trace is done, which is what a start should spare. So when the
back end's entry point is looked up for the first time, ``torch._dynamo.optimize``, which ``torch.compile`` calls next,
gets a layer: for this back end, and for no other, the callable that torch made is put around a :class:`Compiled`. That
loads a stored program, or compiles as ``passprint.compile`` does.

What is reached here stands in ``patches.DOOR``. Where that cannot be installed, or where ``torch.compile`` was given
something that a stored program does not know of, a call is traced and :func:`passprint_backend` compiles its graph from
the store, piece by piece.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, Final

import torch
from torch.fx import GraphModule

from passprint.cache import open_store
from passprint.compiler import patches
from passprint.compiler.model import Compiled, How, sizes_of
from passprint.compiler.record import CompileReport, tell
from passprint.compiler.settings import Settings
from passprint.errors import CompileError

OPTIONS: Final = ("passes", "cache", "split", "compile_sizes", "ranges")
"""What ``options=`` may hold beside Inductor's settings."""
_KNOWN: Final = ("backend", "nopython", "dynamic", "disable")
_TRACED: Final = "torch asked for a graph that it had traced; nothing was looked up before"


def passprint_backend(
    gm: GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
    traced_because: str | None = None,
    **more: Any,
) -> Callable[..., Any]:
    """The back end behind ``torch.compile(model, backend="passprint", options={…})``, for a graph that was traced.

    ``options`` may hold ``passes``, ``cache``, ``split``, ``compile_sizes`` and ``ranges``, as for
    :func:`passprint.compile`, and settings of Inductor; ``mode`` is ``torch.compile``'s. Raises
    :class:`passprint.CompileError` for an option that neither has, RuntimeError for a mode that torch does not have.
    """
    how = how_of({**(options or {}), **more}, mode)
    report = CompileReport(notes=[*how.settings.notes(), *patches.missing()])
    report.traced_because.append(traced_because or _TRACED)
    tell(report)
    return how.backend(report, None)(gm, example_inputs)


def how_of(given: Mapping[str, Any], mode: str | None, *, fullgraph: bool = False) -> How:
    """What the options and the mode of ``torch.compile`` say; raises as :func:`passprint_backend` does."""
    settings = {name: value for name, value in given.items() if name not in OPTIONS}
    if settings:
        _check_names(settings)
    return How(
        given.get("passes"),
        open_store(given.get("cache")),
        given.get("split", "blocks"),
        sizes_of(given.get("compile_sizes"), given.get("ranges")),
        fullgraph,
        Settings(mode, settings or None),
    )


def _check_names(settings: Mapping[str, Any]) -> None:
    """Raise for an option that neither passprint nor Inductor has, with the nearest."""
    import torch._inductor as inductor

    known = set(inductor.list_options())
    for name in settings:
        if name.replace("-", "_") not in known:
            near = difflib.get_close_matches(name, (*OPTIONS, *known), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise CompileError(
                f"The back end 'passprint' was given the option {name!r}. It takes {', '.join(OPTIONS)}, and "
                f"Inductor's settings (torch._inductor.list_options()).{hint}"
            )


class Door:
    """What ``torch._dynamo.optimize`` returns for this back end: put around a model, it starts as passprint does.

    ``context`` is what torch returned. It makes the object that the user gets, so that this is of torch's kind
    (``OptimizedModule``, ``torch._dynamo.is_compiling``, ``get_compiler_config``), and what is inlined where a larger
    model is compiled.
    """

    def __init__(self, context: Any, how: How, dynamic: bool | None) -> None:
        self._context, self._how, self._dynamic = context, how, dynamic

    def __reduce__(self) -> Any:
        return Door, (self._context, self._how, self._dynamic)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def __call__(self, fn: Any) -> Any:
        made = self._context(fn)
        if patches.is_lost(patches.DOOR):
            return made
        try:
            return self._around(made) if not inspect.isclass(fn) else made
        except _MOVED as error:
            patches.lose(patches.DOOR, error)
            return made

    def _around(self, made: Any) -> Any:
        if isinstance(made, torch.nn.Module):
            held = vars(made)
            place = "_forward" if "_forward" in held else "forward"
            held[place] = self._entered(held[place], held["_modules"]["_orig_mod"])
            held["dynamo_ctx"] = self  # a copy makes its own
            return made
        return self._entered(made, _original(made)) if isinstance(made, FunctionType) else made

    def _entered(self, made: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
        compiled = Compiled(original, self._how, self._dynamic)
        is_fx_tracing = torch.fx._symbolic_trace.is_fx_symbolic_tracing

        @functools.wraps(made)
        def call(*args: Any, **kwargs: Any) -> Any:
            if is_fx_tracing():
                return made(*args, **kwargs)
            try:
                return compiled(*args, **kwargs)
            except CompileError as error:
                if isinstance(error.__cause__, _torchs_errors()):
                    raise error.__cause__ from None  # as torch.compile raises it
                raise

        entered: Any = call
        entered._torchdynamo_wrapper_id = id(call)
        entered.report, entered.why_trace = compiled.report, compiled.why_trace
        return call


def _original(made: Any) -> Callable[..., Any]:
    """What torch's callable was made of, without the frame that torch puts around what has none of its own."""
    original = made._torchdynamo_orig_callable
    if getattr(original, "__module__", None) == "torch._dynamo.external_utils" or (
        isinstance(original, FunctionType)
        and original.__globals__.get("__name__") == "torch._dynamo.external_utils"
    ):
        original = getattr(original, "__wrapped__", original)
    found: Callable[..., Any] = original
    return found


@functools.cache
def _torchs_errors() -> tuple[type[BaseException], ...]:
    from passprint.compiler.lowering import inductor

    return inductor.trace_errors()


_MOVED: Final = (AttributeError, ImportError, TypeError, NameError, LookupError)
"""What a private name of torch's raises that is not what it was."""


def _layer(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    context = original(*args, **kwargs)
    given = args[0] if args else kwargs.get("backend")
    backend = getattr(given, "compiler_fn", given)
    from torch._dynamo.eval_frame import OptimizeContext

    if backend is not passprint_backend or not isinstance(context, OptimizeContext):
        return context
    passed: dict[str, Any] = getattr(given, "kwargs", {})  # of this torch.compile; the back end is given them
    how = how_of(
        passed.get("options") or {}, passed.get("mode"), fullgraph=bool(kwargs.get("nopython", False))
    )
    unknown = [name for name, value in kwargs.items() if name not in _KNOWN and value]
    if unknown:
        passed["traced_because"] = (
            f"torch.compile was given {' and '.join(unknown)}, which a stored program does not know of"
        )
    return context if unknown or len(args) > 1 else Door(context, how, kwargs.get("dynamic"))


patches.install(patches.DOOR, _layer)
