"""Pipelines over several hooks: how managers come together, what runs where, and who each of them is."""

from __future__ import annotations

from typing import Any

import pytest
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import GraphModulePass, InductorPass, InferenceAwarePass, Partitioner, SchedulerPass
from passprint.pipeline import PassManager
from passprint.pipeline.instruments import Instrument

ran: list[str] = []


class SpanA(InductorPass):
    step: int = 1

    def __call__(self, graph: Graph) -> None:
        ran.append(str(self))


class SpanModule(GraphModulePass):
    def __call__(self, gm: Any) -> None:
        return None


class SpanAware(InferenceAwarePass):
    def __call__(self, graph: Graph, is_inference: bool) -> None:
        return None


class SpanNodes(SchedulerPass):
    def __call__(self, nodes: list[Any]) -> list[Any]:
        return nodes


class SpanCut(Partitioner):
    def __call__(self, gm: Any, joint_inputs: Any, **kwargs: Any) -> Any:
        return gm, gm


def at(hook: str | None, *passes: Any) -> PassManager:
    return PassManager(passes, hook=hook)


def test_managers_that_name_hooks_make_a_pipeline_over_them() -> None:
    pre, post = at("pre_grad", SpanA()), at("post_grad_post", SpanA(2), at(None, SpanA(3)))
    manager = PassManager([pre, post])
    assert manager.hook is None
    assert manager.hooks == ("pre_grad", "post_grad_post")
    assert manager.passes == (pre, post)
    assert manager.stages == {"pre_grad": pre, "post_grad_post": post}
    assert str(manager) == "pre-grad(span-a),post-grad-post(span-a{step=2},(span-a{step=3}))"
    ran.clear()
    for stage in manager:
        stage(Graph())
    assert ran == ["span-a", "span-a{step=2}", "span-a{step=3}"]
    with pytest.raises(PipelineError, match=r"runs at pre_grad and post_grad_post.*stages"):
        manager(Graph())


def test_members_that_name_one_hook_run_there() -> None:
    assert PassManager([at("joint_pre", SpanA()), at("joint_pre")]).hook == "joint_pre"
    assert PassManager([at("post_grad_post", SpanA()), SpanA()]).hook == "post_grad_post"
    assert PassManager([at(None, SpanA()), SpanA()]).hook == "post_grad_post"
    inner = at(None, at(None, SpanA()))
    outer = at("joint_pre", inner)
    assert outer.passes[0].hook == outer.passes[0].passes[0].hook == "joint_pre"
    assert inner.hook == "post_grad_post"


@pytest.mark.parametrize(
    ("members", "hook", "message"),
    [
        ([at("joint_pre")], "pre_grad", r"member 0 .* runs at joint_pre.* at pre_grad"),
        ([at("joint_pre"), SpanA()], None, r"name the hooks joint_pre, and member 1 names none"),
        ([at("joint_pre"), at(None)], None, "member 1 names none"),
        ([at("joint_pre"), at("pre_grad"), at("joint_pre")], None, "two members .* run at joint_pre"),
        ([at("joint_pre"), at("pre_grad")], None, r"not the order .*pre-grad\(…\),joint-pre\(…\)"),
        ([PassManager([at("pre_grad"), at("joint_pre")])], None, "member 0 .* spans the hooks"),
        ([SpanA()], "scheduler_pre", "'span-a' .*cannot run there.*SchedulerPass.*pre_grad"),
        ([SpanNodes()], None, "'span-nodes' .*cannot run there.*scheduler_pre or scheduler_post"),
        ([SpanCut()], "post_grad_pre", "'span-cut' .*cannot run there.*partitioner"),
        ([SpanAware()], "joint_pre", "'span-aware' .*post_grad_pre or post_grad_post"),
        ([SpanNodes()], "partitioner", "'span-nodes' .*cannot run there.*Partitioner"),
        ([SpanCut(), SpanCut()], "partitioner", "'span-cut' and 'span-cut'; torch asks one only"),
        ([SpanA], "joint_pre", r"give an instance, SpanA\(\)"),
        ([SpanNodes], "scheduler_pre", r"give an instance, SpanNodes\(\)"),
        ([SpanA()], "joint", "no hook called 'joint'; did you mean 'joint_p"),
    ],
)
def test_what_cannot_come_together_is_told(members: list[Any], hook: str | None, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        PassManager(members, hook=hook)


def test_every_kind_has_its_hooks() -> None:
    for hook, member in (
        ("pre_grad", SpanModule()),
        ("post_grad_pre", SpanModule()),
        ("post_grad_pre", SpanAware()),
        ("partitioner", SpanCut()),
        ("scheduler_post", SpanNodes()),
    ):
        manager = at(hook, member)
        assert manager.hook == hook
        assert manager.uuid() == manager.identity().digest
        assert PassManager.parse(str(manager)) == manager


def test_a_pass_on_modules_needs_one() -> None:
    with pytest.raises(Exception, match="belongs to none"):
        at(None, SpanModule())(Graph())


def test_the_identity_has_a_part_for_each_hook() -> None:
    manager = PassManager([at("pre_grad", SpanA()), at("joint_pre", SpanA(2))])
    identity = manager.identity()
    assert identity.digest == manager.uuid()
    assert [part.name for part in identity.root.children] == ["pre_grad", "joint_pre"]
    everything = [
        manager.uuid(),
        at("pre_grad", SpanA(), SpanA(2)).uuid(),
        PassManager([at("pre_grad", SpanA(2)), at("joint_pre", SpanA())]).uuid(),
        PassManager([at("pre_grad", SpanA()), at("joint_post", SpanA(2))]).uuid(),
        PassManager([at("pre_grad", SpanA()), at("joint_pre", SpanA(2)), at("joint_post")]).uuid(),
        manager.stages["pre_grad"].uuid(),
        manager.stages["joint_pre"].uuid(),
    ]
    assert len(set(everything)) == len(everything)
    again = PassManager.parse(str(manager))
    assert again.uuid() == manager.uuid()
    changes = PassManager([at("pre_grad", SpanA()), at("joint_pre", SpanA(3))]).identity().diff(identity)
    assert changes
    assert all("joint_pre" in change.path for change in changes)


def test_instruments_watch_every_part() -> None:
    heard: list[str] = []

    class Hears(Instrument):
        def before_pass(self, run: Any) -> None:
            heard.append(f"{run.within[0].hook} {run.name}")

    manager = PassManager([at("pre_grad", SpanA()), at("joint_pre", SpanA())], instruments=[Hears()])
    for stage in manager:
        stage(Graph())
    assert heard == ["pre_grad span-a", "joint_pre span-a"]
