"""Which hook, or hooks, a pipeline runs at: what its maker says and what its members say."""

from __future__ import annotations

from collections.abc import Mapping

from passprint.errors import PipelineError
from passprint.pipeline.registry import nearest
from passprint.pipeline.torch_door import DEFAULT_HOOK, HOOKS, Hook


def find_hook(name: str) -> Hook:
    """The hook called ``name``, as in Python (``post_grad_post``) or as in text (``post-grad-post``).

    Raises PipelineError, with the nearest name, where there is none.
    """
    hook = HOOKS.get(str(name).replace("-", "_"))
    if hook is None:
        raise PipelineError(f"there is no hook called {name!r}{nearest(str(name), HOOKS)}")
    return hook


def settle_hooks(
    named: str | None, members: int, inner: Mapping[int, tuple[str | None, ...]]
) -> tuple[str | None, ...]:
    """The hooks of a pipeline of so many ``members``, in the order in which Inductor comes to them.

    ``named``: what was asked for. ``inner``: by position, the hooks of the members that are managers;
    ``(None,)`` for one
    that runs wherever it stands. The result is ``(None,)`` where nobody says anything.
    Raises PipelineError where they do not agree.
    """
    for at, hooks in inner.items():
        if len(hooks) > 1:
            raise PipelineError(
                f"member {at} of a PassManager spans the hooks {', '.join(map(str, hooks))} and cannot stand "
                "inside another "
                "pipeline; put its parts, one for each hook, side by side"
            )
        if named is not None and hooks[0] not in (None, named):
            raise PipelineError(
                f"member {at} of a PassManager runs at {hooks[0]}, and it was put into a pipeline at {named}. "
                "Give one hook only, "
                "or make both parts of a pipeline that spans hooks: PassManager([first, second])"
            )
    given = [hooks[0] for hooks in inner.values() if hooks[0] is not None]
    distinct = set(given) | ({named} if named is not None else set())
    if distinct <= {DEFAULT_HOOK} or named is not None:
        return (named,)
    silent = next((at for at in range(members) if inner.get(at, (None,))[0] is None), None)
    if silent is not None:
        raise PipelineError(
            f"members of a PassManager name the hooks {', '.join(sorted(map(str, distinct)))}, and member "
            f"{silent} names none. In "
            "a pipeline that spans hooks every member is a manager with a hook: "
            f'PassManager([...], hook="{DEFAULT_HOOK}")'
        )
    if len(distinct) == 1:
        return (given[0],)
    _check_stages(given)
    return tuple(given)


def _check_stages(hooks: list[str]) -> None:
    twice = next((hook for hook in hooks if hooks.count(hook) > 1), None)
    if twice is not None:
        raise PipelineError(
            f"two members of a PassManager that spans hooks run at {twice}; put the passes of both into one"
        )
    in_order = [hook for hook in HOOKS if hook in hooks]
    if hooks != in_order:
        raise PipelineError(
            f"the hooks of a pipeline are given as {', '.join(hooks)}, which is not the order in which they "
            "run. Valid: "
            f"{','.join(f'{HOOKS[hook].text}(…)' for hook in in_order)}"
        )
