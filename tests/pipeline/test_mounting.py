"""Putting a pipeline into Inductor's slots, beside what is there."""

from __future__ import annotations

import contextvars
import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.versions import since
from torch._inductor import config
from torch._inductor.custom_graph_pass import (
    CustomGraphPass,
    CustomPartitionerFn,
)
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import InductorPass, InferenceAwarePass, Partitioner, SchedulerPass
from passprint.passes.torch_door import CustomInferenceAwareGraphPass
from passprint.pipeline import PassManager, mounting
from passprint.pipeline.torch_door import HOOKS

ran: list[str] = []


class Mounted(InductorPass):
    label: str = "ours"

    def __call__(self, graph: Graph) -> None:
        ran.append(self.label)


class MountedNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        ran.append("nodes")
        return nodes


class ANode:
    """As a scheduler's node has it."""

    def get_name(self) -> str:
        return "node"


class MountedCut(Partitioner):
    def __call__(self, gm: Any, joint_inputs: Any, **kwargs: Any) -> Any:
        ran.append("cut")
        return gm, gm


class MountedAware(InferenceAwarePass):
    def __call__(self, graph: Graph, is_inference: bool) -> None:
        ran.append(f"ours {is_inference}")


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


class TheirCut(CustomPartitionerFn):
    def __call__(self, gm: Any, joint_inputs: Any, **kwargs: Any) -> Any:
        return gm, gm

    def uuid(self) -> Any:
        return "cut"


def plain_function(graph: Graph) -> None:
    ran.append("function")


@pytest.fixture(autouse=True)
def clean_slots() -> Iterator[None]:
    ran.clear()
    with config.patch({hook.slot: None for hook in HOOKS.values()}):
        yield


def slot(hook: str = "post_grad_post") -> Any:
    return getattr(config, HOOKS[hook].slot)


def put(value: Any, hook: str = "post_grad_post") -> None:
    setattr(config, HOOKS[hook].slot, value)


def manager_at(hook: str) -> PassManager:
    member = {"nodes": MountedNodes(), "joint module": MountedCut(), "graph": Mounted()}[HOOKS[hook].takes]
    return PassManager([member], hook=hook)


# -- one pipeline


@pytest.mark.parametrize("hook", HOOKS)
def test_alone_the_pipeline_stands_in_its_slot_only(hook: str) -> None:
    manager = manager_at(hook)
    with manager.mounted():
        assert slot(hook).manager is manager
        assert slot(hook).uuid() == manager.uuid()
        assert all(slot(other) is None for other in HOOKS if other != hook)
    assert slot(hook) is None
    assert list(manager.options()) == [HOOKS[hook].slot]
    assert manager.options() == manager.options()
    assert manager.options() == manager_at(hook).options()


def test_torch_takes_the_options_of_every_hook() -> None:
    for hook in HOOKS:
        compiled(torch.relu, manager_at(hook))


def compiled(fn: Callable[..., Any], manager: PassManager) -> Any:
    return torch.compile(fn, options=manager.options())


@pytest.mark.parametrize("hook", HOOKS)
def test_what_torch_does_with_a_slot_leaves_the_identity(hook: str) -> None:
    with manager_at(hook).mounted():
        assert copy.deepcopy(slot(hook)) is slot(hook)
        # the same bytes in every process, whatever was asked of the manager before
        assert pickle.loads(pickle.dumps(slot(hook))) == slot(hook).uuid()


def test_a_pipeline_over_several_hooks_is_mounted_at_all_of_them() -> None:
    manager = PassManager([manager_at("pre_grad"), manager_at("partitioner"), manager_at("scheduler_post")])
    assert list(manager.options()) == [HOOKS[hook].slot for hook in manager.hooks]
    with manager.mounted():
        assert [hook for hook in HOOKS if slot(hook) is not None] == list(manager.hooks)
        slot("pre_grad")(Graph())
        assert slot("scheduler_post")([]) == []
    assert ran == ["ours", "nodes"]
    assert all(slot(hook) is None for hook in HOOKS)


# -- beside others


@pytest.mark.parametrize(
    ("there", "expected", "cacheable"),
    [
        (Theirs(), ["theirs"], True),
        (plain_function, ["function"], False),
        (PassManager([Mounted("first")]), ["first"], True),
        ([Theirs(), Mounted("second")], ["theirs", "second"], True),
        ((Theirs(), plain_function), ["theirs", "function"], False),
        ([], [], True),
        (Theirs(None), ["theirs"], False),
        (Theirs(b"bytes"), ["theirs"], True),
    ],
)
@pytest.mark.parametrize("place", ["after", "before"])
def test_what_is_there_keeps_running_and_is_put_back(
    there: Any, expected: list[str], cacheable: bool, place: str
) -> None:
    put(there)
    found = slot()
    with PassManager([Mounted()]).mounted(place):
        slot()(Graph())
        assert ran == ([*expected, "ours"] if place == "after" else ["ours", *expected])
        assert (slot().uuid() is not None) == cacheable
        assert isinstance(slot(), CustomGraphPass)
    assert slot() is found


def test_places_are_named() -> None:
    with pytest.raises(PipelineError, match=r"'behind'.*after, before"), PassManager().mounted("behind"):
        pass


def test_passes_over_nodes_run_beside_one_another() -> None:
    one, another = ANode(), ANode()
    put(lambda nodes: [*nodes, another], "scheduler_pre")
    with manager_at("scheduler_pre").mounted():
        assert slot("scheduler_pre")([one]) == [one, another]
        with pytest.raises(pickle.PicklingError, match="no identity"):
            pickle.dumps(slot("scheduler_pre").uuid())
    put(MountedNodes(), "scheduler_pre")
    with manager_at("scheduler_pre").mounted():
        assert isinstance(slot("scheduler_pre").uuid(), str)


def test_a_pass_that_asks_for_inference_is_told() -> None:
    put(InferenceAware())
    with PassManager([Mounted(), PassManager([MountedAware()])]).mounted():
        assert isinstance(slot(), CustomInferenceAwareGraphPass)
        slot()(Graph(), is_inference=True)
        assert slot().uuid()
    assert ran == ["inference True", "ours", "ours True"]
    with pytest.raises(Exception, match="is_inference=True"):
        PassManager([MountedAware()])(Graph())
    PassManager([MountedAware()]).run(Graph(), is_inference=False)
    assert ran[-1] == "ours False"


def test_mounts_nest_and_are_undone_by_errors_too() -> None:
    outer, inner = PassManager([Mounted("outer")]), PassManager([Mounted("inner")])
    with outer.mounted():
        with pytest.raises(KeyError), inner.mounted():
            raise_after_running()
        assert slot().manager is outer
    assert ran == ["outer", "inner"]
    assert slot() is None


def raise_after_running() -> None:
    slot()(Graph())
    raise KeyError


def test_what_is_there_counts_when_the_block_is_entered() -> None:
    block = PassManager([Mounted()]).mounted()
    put(Theirs())
    with block:
        slot()(Graph())
    assert ran == ["theirs", "ours"]


def mounted_uuid(*there: Any, manager: PassManager | None = None, place: str = "after") -> Any:
    put(list(there))
    with (manager or PassManager([Mounted()])).mounted(place):
        return slot().uuid()


def test_the_uuid_covers_everything_in_the_slot() -> None:
    everything = [
        mounted_uuid(),
        mounted_uuid(Theirs("a")),
        mounted_uuid(Theirs("a"), place="before"),
        mounted_uuid(Theirs("b")),
        mounted_uuid(Theirs("a"), Theirs("b")),
        mounted_uuid(Theirs("b"), Theirs("a")),
        mounted_uuid(Theirs("a"), manager=PassManager([Mounted("other")])),
    ]
    assert len(set(everything)) == len(everything)
    assert mounted_uuid(Theirs("a")) == mounted_uuid(Theirs("a"))


# -- conflicts


def test_two_partitioners_are_a_conflict_that_names_both() -> None:
    put(TheirCut(), "partitioner")
    with pytest.raises(PipelineError) as caught, manager_at("partitioner").mounted():
        pass
    assert "partitioner(mounted-cut)" in str(caught.value)
    assert f"{__name__}.TheirCut" in str(caught.value)
    assert isinstance(slot("partitioner"), TheirCut)


def test_a_slot_that_changes_underneath_is_a_conflict_that_names_both() -> None:
    with pytest.raises(PipelineError) as caught, PassManager([Mounted()]).mounted():
        put(Theirs())
    assert "'mounted' was mounted at post_grad_post" in str(caught.value)
    assert f"{__name__}.Theirs" in str(caught.value)
    assert slot() is None


def test_an_error_inside_the_block_says_more_than_a_conflict() -> None:
    def fails() -> None:
        put(Theirs())
        raise KeyError

    with pytest.raises(KeyError), PassManager([Mounted()]).mounted():
        fails()


def test_what_others_put_there_inside_the_block_and_take_away_is_no_conflict() -> None:
    with PassManager([Mounted()]).mounted(), config.patch(post_grad_custom_post_pass=Theirs()):
        slot()(Graph())
    assert ran == ["theirs"]


# -- who sees it


def in_a_thread(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed on
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@since((2, 12), "a configuration for each thread")
def test_threads_do_not_see_each_others_mounts() -> None:
    def other() -> None:
        assert slot() is None
        with PassManager([Mounted("other")]).mounted():
            slot()(Graph())

    with PassManager([Mounted()]).mounted():
        in_a_thread(other)
        slot()(Graph())
    assert ran == ["other", "ours"]


@since((2, 12), "a configuration for each thread")
def test_a_manager_may_be_mounted_in_two_threads_at_once() -> None:
    manager = PassManager([Mounted()])
    both = threading.Barrier(2, timeout=30)

    def work() -> None:
        with manager.mounted():
            both.wait()
            slot()(Graph())
            both.wait()

    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()
    assert ran == ["ours", "ours"]


def test_where_the_configuration_is_one_for_all_a_mount_is_idle_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on torch 2.11: another thread finds the pipeline in the slot, and it does nothing there."""
    monkeypatch.setattr(mounting, "is_per_thread", lambda: False)
    with PassManager([Mounted()]).mounted():
        shared, busy = slot(), slot().uuid()
        contextvars.Context().run(shared, Graph())
        idle = contextvars.Context().run(shared.uuid)
        assert ran == []
        shared(Graph())
    assert ran == ["ours"]
    assert idle != busy


def test_what_a_pass_compiles_itself_does_not_run_the_pipeline() -> None:
    seen: list[Any] = []

    class CompilesMore(InductorPass):
        def __call__(self, graph: Graph) -> None:
            slot()(Graph())  # as Inductor would for another model
            seen.append(slot().uuid())

    manager = PassManager([Mounted(), CompilesMore()])
    with manager.mounted():
        slot()(Graph())
        assert ran == ["ours"]
        assert seen == ["passprint: idle"] != [slot().uuid()]


# -- for the process


def test_an_installed_pipeline_is_seen_by_every_thread_until_it_is_removed() -> None:
    put(Theirs())
    installation = PassManager([Mounted()]).install(place="before")
    try:
        in_a_thread(lambda: slot()(Graph()))
        assert ran == ["ours", "theirs"]
        slot()(Graph())
        assert ran == ["ours", "theirs"] * 2
    finally:
        installation.remove()
    assert isinstance(slot(), Theirs)
    put(None)
    PassManager([Mounted()]).install().remove()
    in_a_thread(lambda: ran.append(str(slot())))
    assert ran[-1] == "None"


def test_a_thread_that_keeps_what_it_found_runs_it_no_more_after_the_removal() -> None:
    installation = PassManager([Mounted()]).install()
    found, removed = threading.Event(), threading.Event()

    def work() -> None:
        slot()(Graph())
        found.set()
        assert removed.wait(30)
        kept = slot()
        if kept is not None:
            kept(Graph())
            assert kept.uuid() == "passprint: idle"

    thread = threading.Thread(target=work)
    thread.start()
    assert found.wait(30)
    installation.remove()
    removed.set()
    thread.join()
    assert ran == ["ours"]


def test_what_stands_on_top_of_an_installed_pipeline_must_go_first() -> None:
    first = PassManager([Mounted("first")]).install()
    second = PassManager([Mounted("second")]).install()
    with pytest.raises(PipelineError, match=r"'mounted\{label='first'\}'.*label='second'"):
        first.remove()
    second.remove()
    first.remove()
    assert slot() is None
