"""Putting a pipeline into Inductor's slots, beside what is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch._inductor import config
from torch._inductor.custom_graph_pass import CustomGraphPass, CustomInferenceAwareGraphPass
from torch.fx import Graph

from passprint.passes import InductorPass
from passprint.pipeline import PassManager
from passprint.pipeline.torch_door import HOOKS

ran: list[str] = []


class Mounted(InductorPass):
    label: str = "ours"

    def __call__(self, graph: Graph) -> None:
        ran.append(self.label)


class Theirs(CustomGraphPass):
    def __init__(self, uuid: Any = "theirs") -> None:
        self.given = uuid

    def __call__(self, graph: Graph) -> None:
        ran.append("theirs")

    def uuid(self) -> Any:
        return self.given


class InferenceAware(CustomInferenceAwareGraphPass):
    def __call__(self, graph: Graph, is_inference: bool) -> None:
        ran.append(f"inference {is_inference}")

    def uuid(self) -> Any:
        return "aware"


def plain_function(graph: Graph) -> None:
    ran.append("function")


@pytest.fixture(autouse=True)
def clean_slots() -> Iterator[None]:
    ran.clear()
    with config.patch(dict.fromkeys(HOOKS.values())):
        yield


def slot(hook: str = "post_grad_post") -> Any:
    return getattr(config, HOOKS[hook])


@pytest.mark.parametrize("hook", HOOKS)
def test_alone_the_manager_itself_stands_in_its_slot(hook: str) -> None:
    manager = PassManager([Mounted()], hook=hook)
    with manager.mounted():
        assert slot(hook) is manager
        assert all(slot(other) is None for other in HOOKS if other != hook)
    assert slot(hook) is None
    assert manager.options() == {HOOKS[hook]: manager}


@pytest.mark.parametrize(
    ("there", "expected", "cacheable"),
    [
        (Theirs(), ["theirs", "ours"], True),
        (plain_function, ["function", "ours"], False),
        (PassManager([Mounted("first")]), ["first", "ours"], True),
        ([Theirs(), Mounted("second")], ["theirs", "second", "ours"], True),
        ((Theirs(), plain_function), ["theirs", "function", "ours"], False),
        ([], ["ours"], True),
        (Theirs(None), ["theirs", "ours"], False),
        (Theirs(b"bytes"), ["theirs", "ours"], True),
    ],
)
def test_what_is_there_runs_first_and_is_put_back(there: Any, expected: list[str], cacheable: bool) -> None:
    setattr(config, HOOKS["post_grad_post"], there)
    found = slot()
    with PassManager([Mounted()]).mounted():
        slot()(Graph())
        assert ran == expected
        assert (slot().uuid() is not None) == cacheable
        assert isinstance(slot(), CustomGraphPass)
    assert slot() is found


def test_a_pass_that_asks_for_inference_is_told() -> None:
    setattr(config, HOOKS["post_grad_post"], InferenceAware())
    with PassManager([Mounted()]).mounted():
        assert isinstance(slot(), CustomInferenceAwareGraphPass)
        slot()(Graph(), is_inference=True)
        assert slot().uuid()
    assert ran == ["inference True", "ours"]


def test_mounts_nest_and_are_undone_by_errors_too() -> None:
    outer, inner = PassManager([Mounted("outer")]), PassManager([Mounted("inner")])
    with outer.mounted():
        with pytest.raises(KeyError), inner.mounted():
            raise_after_running()
        assert slot() is outer
    assert ran == ["outer", "inner"]
    assert slot() is None


def test_what_is_there_counts_when_the_block_is_entered() -> None:
    block = PassManager([Mounted()]).mounted()
    setattr(config, HOOKS["post_grad_post"], Theirs())
    with block:
        slot()(Graph())
    assert ran == ["theirs", "ours"]


def raise_after_running() -> None:
    slot()(Graph())
    raise KeyError


def mounted_uuid(*there: Any, manager: PassManager | None = None) -> Any:
    setattr(config, HOOKS["post_grad_post"], list(there))
    with (manager or PassManager([Mounted()])).mounted():
        return slot().uuid()


def test_the_uuid_covers_everything_in_the_slot() -> None:
    everything = [
        mounted_uuid(),
        mounted_uuid(Theirs("a")),
        mounted_uuid(Theirs("b")),
        mounted_uuid(Theirs("a"), Theirs("b")),
        mounted_uuid(Theirs("b"), Theirs("a")),
        mounted_uuid(Theirs("a"), manager=PassManager([Mounted("other")])),
    ]
    assert len(set(everything)) == len(everything)
    assert mounted_uuid(Theirs("a")) == mounted_uuid(Theirs("a"))


def test_a_manager_may_be_mounted_in_two_threads() -> None:
    manager = PassManager([Mounted()])
    seen: list[bool] = []
    both = threading.Barrier(2, timeout=30)

    def work() -> None:
        with manager.mounted():
            both.wait()
            seen.append(slot() is not None)
            both.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True, True]


def compiled(fn: Callable[..., Any], manager: PassManager) -> Any:
    return torch.compile(fn, options=manager.options())


def test_torch_takes_the_options_of_every_hook() -> None:
    for hook in HOOKS:
        compiled(torch.relu, PassManager([Mounted()], hook=hook))
