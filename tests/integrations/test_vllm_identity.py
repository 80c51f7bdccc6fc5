"""The plug-in's identity mode on a stand-in for vLLM: real engines run in ``engines/``."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import passprint
from passprint.integrations import vllm as plugin

STANDIN = Path(__file__).parent / "standin"

PASS = """
from vllm.compilation.passes.inductor_pass import InductorPass
from user_helpers import factor

class Base(InductorPass):
    def sign(self): return 1.0

class Scale(Base):
    def __call__(self, graph):
        self.factor = factor() * self.sign()
"""
HELPERS = "FACTOR = 1.0\ndef factor(): return FACTOR\n"
MODEL = """
import torch
LIMIT = 5

class Attention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.width = config.model_config.width

    def forward(self, x):
        return x

class Model(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.vllm_config = config
        self.attention = Attention(config)

    def forward(self, x):
        return self.attention(x) + self.vllm_config.speculative_config.num_tokens + LIMIT
"""


class Host:
    """A process in which the stand-in is vLLM: made anew for each start, on one cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = {"user_pass": PASS, "user_helpers": HELPERS, "user_model": MODEL}
        self.options: dict[str, Any] = {}
        self.prepare: Callable[[Any], None] = lambda pass_: None
        self.warned: list[str] = []

    def write(self, place: str = "user") -> Path:
        """The user's files; new contents in a new folder, so that nothing old is imported."""
        folder = self.folder / place / str(len(list(self.folder.glob(f"{place}/*"))))
        folder.mkdir(parents=True)
        for name, text in self.texts.items():
            (folder / f"{name}.py").write_text(text)
        return folder

    def load(self, mode: str = "identity", place: str = "user") -> Any:
        """vLLM with the plug-in, and the user's modules, freshly imported; returns the configuration."""
        forget()
        sys.path[:0] = [str(self.write(place))]
        os.environ["PASSPRINT_VLLM"] = mode
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            plugin.register()
        self.warned += [str(one.message) for one in caught]
        config = importlib.import_module("vllm.config.compilation")
        pass_ = importlib.import_module("user_pass").Scale()
        self.prepare(pass_)
        compilation = config.CompilationConfig({"post_grad_custom_post_pass": pass_})
        model = config.ModelConfig(self.options.get("model", "llama"), self.options.get("width", 4))
        speculative = config.SpeculativeConfig(
            self.options.get("num_tokens", 3), self.options.get("unread", 0)
        )
        return config.VllmConfig(compilation, model, speculative, os.urandom(4).hex())

    def start(self, **load: Any) -> str:
        """One start of an engine: "loaded" or "compiled"."""
        config = self.load(**load)
        model = importlib.import_module("user_model").Model(config)
        cache = self.folder / "cache"
        cache.mkdir(exist_ok=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found: str = importlib.import_module("vllm.compilation.decorators").start(model, str(cache))
        self.warned += [str(one.message) for one in caught]
        return found


def forget() -> None:
    """Take the stand-in and the user's modules out of this process."""
    sys.path[:] = [path for path in sys.path if "/user" not in path and "/elsewhere" not in path]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("vllm", *_USER)]:
        del sys.modules[name]
    sys.modules.pop("passprint.integrations.vllm.manager", None)
    importlib.invalidate_caches()


_USER = ("user_pass", "user_helpers", "user_model")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    site = tmp_path / "site-packages"
    shutil.copytree(STANDIN, site)
    (site / "vllm-0.32.0.dist-info").mkdir()
    (site / "vllm-0.32.0.dist-info" / "RECORD").write_text("vllm/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PASSPRINT_CACHE_DIR", str(tmp_path / "history"))
    monkeypatch.setenv("VLLM_DISABLE_COMPILE_CACHE", "0")
    monkeypatch.setenv("PASSPRINT_VLLM", "identity")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Host(tmp_path)
    forget()


def _explained(host: Host) -> str:
    from passprint.cache import LocalStore

    noted = LocalStore(host.folder / "history").journal.read()
    return str(noted[-1].miss)


def test_a_second_start_loads(host: Host) -> None:
    assert [host.start(), host.start()] == ["compiled", "loaded"]
    assert host.warned == []


MUST = {
    "helper": ("user_helpers", "1.0", "-1.0"),
    "base class": ("user_pass", "return 1.0", "return -1.0"),
    "constant that the model's code reads": ("user_model", "LIMIT = 5", "LIMIT = 6"),
    "code of the model": ("user_model", "return x", "return -x"),
}
NOT = {
    "comment in the pass": ("user_pass", "class Scale", "# one more\n\nclass Scale"),
    "comment in the helper": ("user_helpers", "FACTOR =", "# by how much\nFACTOR ="),
    "comment in the model": ("user_model", "    def forward", "    # the forward\n\n    def forward"),
}


@pytest.mark.parametrize("edit", MUST)
def test_an_edit_compiles_again(host: Host, edit: str) -> None:
    module, before, after = MUST[edit]
    host.start()
    host.texts[module] = host.texts[module].replace(before, after)
    assert [host.start(), host.start()] == ["compiled", "loaded"]


@pytest.mark.parametrize("edit", NOT)
def test_a_comment_does_not(host: Host, edit: str) -> None:
    module, before, after = NOT[edit]
    host.start()
    host.texts[module] = host.texts[module].replace(before, after)
    assert host.start() == "loaded"


def test_without_the_plug_in_the_helper_is_stale(host: Host) -> None:
    host.start(mode="off")
    host.texts["user_helpers"] = HELPERS.replace("1.0", "-1.0")
    assert host.start(mode="off") == "loaded"


def test_the_miss_is_explained_down_to_the_value(host: Host) -> None:
    host.start()
    host.texts["user_helpers"] = HELPERS.replace("1.0", "-1.0")
    host.start()
    told = _explained(host)
    assert "factor → FACTOR: 1.0 → -1.0" in told
    assert "not with the same passes:" in told  # and nothing else, though the uuid is in a configuration


def test_a_field_that_the_model_reads_counts_though_vllm_leaves_it_out(host: Host) -> None:
    host.start()
    host.options["num_tokens"] = 4
    assert host.start() == "compiled"
    assert "SpeculativeConfig.num_tokens" in _explained(host)


def test_a_field_that_no_code_of_the_model_names_does_not(host: Host) -> None:
    host.start()
    host.options["unread"] = 9
    assert host.start() == "loaded"


def test_a_value_that_a_module_holds_counts(host: Host, tmp_path: Path) -> None:
    width = tmp_path / "width"
    width.write_text("4")
    host.texts["user_model"] = MODEL.replace("config.model_config.width", f"int(open({str(width)!r}).read())")
    assert [host.start(), host.start()] == ["compiled", "loaded"]
    width.write_text("5")
    assert host.start() == "compiled"
    assert "width" in _explained(host)


def test_folders_do_not_count(host: Host, tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    host.options["model"] = str(tmp_path / "here")
    host.start()
    host.options["model"] = str(tmp_path / "there")
    assert host.start(place="elsewhere") == "loaded"


@pytest.mark.parametrize("variable", ["VLLM_SIDE_CHANNEL_HOST", "VLLM_SIDE_CHANNEL_PORT"])
def test_a_pods_address_does_not_count(host: Host, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    host.start()
    monkeypatch.setenv(variable, "10.0.0.7")
    assert host.start() == "loaded"


def test_another_variable_counts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.start()
    monkeypatch.setenv("VLLM_USE_FAST", "1")
    assert host.start() == "compiled"
    assert "VLLM_USE_FAST" in _explained(host)


def test_an_opaque_value_is_warned_of_once_and_never_cached(host: Host, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    with (tmp_path / "log").open() as log:
        host.prepare = lambda pass_: setattr(pass_, "log", log)
        assert [host.start(), host.start()] == ["compiled", "compiled"]
    assert not list((tmp_path / "cache").iterdir())
    assert os.environ["VLLM_DISABLE_COMPILE_CACHE"] == "1"
    assert len(host.warned) == 2  # one a process
    assert "Scale.log: TextIOWrapper" in host.warned[0]


def test_what_turns_opaque_after_the_look_is_not_stored(host: Host, tmp_path: Path) -> None:
    config = host.load()
    serialize = importlib.import_module("vllm.compilation.caching").VllmSerializableFunction
    config.compilation_config.init_backend(config)
    assert serialize.serialize_compile_artifacts(None) == b"artifact"
    pass_ = config.compilation_config.inductor_compile_config["post_grad_custom_post_pass"]
    with (tmp_path / "log").open("w") as pass_.log:
        with pytest.warns(plugin.VllmWarning, match="cannot be identified"):
            pass_.uuid()
        with pytest.raises(RuntimeError, match=r"Scale\.log"):
            serialize.serialize_compile_artifacts(None)


def test_hash_source_follows_what_a_function_reaches(host: Host) -> None:
    host.load()
    first = importlib.import_module("vllm.compilation.passes.inductor_pass").InductorPass
    helpers = importlib.import_module("user_helpers")
    before = first.hash_source(helpers.factor)
    assert first.hash_source(helpers.factor) == before
    helpers.FACTOR = 2.0
    assert first.hash_source(helpers.factor) != before
    assert first.hash_source("ab", "c") != first.hash_source("a", "bc")


def test_a_function_that_vllm_made_a_pass_of_before_the_plug_in_came(host: Host) -> None:
    def put_function(config: Any) -> None:
        helpers = importlib.import_module("user_helpers")
        kind = importlib.import_module("vllm.compilation.passes.inductor_pass").CallableInductorPass
        config.compilation_config.inductor_compile_config["post_grad_custom_post_pass"] = kind(helpers.factor)

    found = []
    for text in (
        HELPERS,
        HELPERS.replace("return", "\n    # why\n    return"),
        HELPERS.replace("1.0", "2.0"),
    ):
        host.texts["user_helpers"] = text
        config = host.load(mode="off")
        put_function(config)
        os.environ["PASSPRINT_VLLM"] = "identity"
        plugin.register()
        config.compilation_config.init_backend(config)
        found.append(config.compilation_config.inductor_compile_config["post_grad_custom_post_pass"].uuid())
    assert found[0] == found[1] != found[2]


def test_a_uuid_of_ones_own_counts_besides(host: Host) -> None:
    host.texts["user_pass"] = PASS + "    def uuid(self): return 'v1'\n"
    host.start()
    host.texts["user_helpers"] = HELPERS.replace("1.0", "-1.0")
    assert host.start() == "compiled"


def _manager(host: Host, mode: str = "identity") -> tuple[Any, Any]:
    config = host.load(mode)
    kind = importlib.import_module("vllm.utils.import_utils").resolve_obj_by_qualname(
        importlib.import_module("vllm.platforms").current_platform.get_pass_manager_cls()
    )
    manager = kind()
    manager.configure(config)
    manager.add(config.compilation_config.inductor_compile_config["post_grad_custom_post_pass"])
    return manager, importlib.import_module("vllm.compilation.passes.inductor_pass")


def test_the_managers_uuid_follows_edits_and_the_range_but_not_runs(host: Host) -> None:
    manager, passes = _manager(host)
    with passes.pass_context(passes.Range(1, 8)):
        before = manager.uuid()
        manager.passes[0](torch.fx.Graph())
        assert manager.uuid() == before
        importlib.import_module("user_helpers").FACTOR = 2.0
        assert manager.uuid() != before
    with passes.pass_context(passes.Range(9, 16)):
        assert manager.uuid() != before


def test_an_implementation_of_an_operator_counts_with_its_helpers(host: Host) -> None:
    manager, passes = _manager(host)
    helpers = importlib.import_module("user_helpers")
    importlib.import_module("vllm.ir.op").IrOp("rms_norm", mine=helpers.factor)
    with passes.pass_context(passes.Range(1, 8)):
        before = manager.uuid()
        helpers.FACTOR = 3.0
        assert manager.uuid() != before


# -- failing soft


def _edit(host: Host, file: str, before: str, after: str) -> None:
    path = host.folder / "site-packages" / "vllm" / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("__init__.py", "0.32.0", "0.99.0", "vLLM 0.99.0 was not read"),
        (
            "compilation/decorators.py",
            "_model_hash_key",
            "_key_of_model",
            "has no vllm.compilation.decorators",
        ),
        ("compilation/caching.py", "(vllm_config)", "(config)", "takes config. Expected vllm_config"),
    ],
)
def test_a_vllm_that_was_not_read_stays_as_it_is(
    host: Host, file: str, before: str, after: str, told: str
) -> None:
    _edit(host, file, before, after)
    host.load()
    (warning,) = host.warned
    assert told in warning
    first = importlib.import_module("vllm.compilation.passes.inductor_pass").InductorPass
    assert first.hash_source.__module__ == first.__module__


def test_a_failure_of_ours_gives_vllms_answer_and_no_cache(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from passprint.integrations.vllm import configuration

    def fail(*args: object) -> None:
        raise ZeroDivisionError("of ours")

    host.start()
    monkeypatch.setattr(configuration, "of_model", fail)
    assert host.start() == "compiled"
    assert len(host.warned) == 1
    assert "ZeroDivisionError" in host.warned[0]


def test_an_unknown_mode_is_told_and_changes_nothing(host: Host) -> None:
    host.load(mode="everything")
    (warning,) = host.warned
    assert warning == "PASSPRINT_VLLM is 'everything'. Expected off, identity, passes; vLLM runs as it is"


def test_registering_twice_changes_nothing(host: Host) -> None:
    host.load()
    first = importlib.import_module("vllm.compilation.passes.inductor_pass").InductorPass
    put = first.hash_source
    plugin.register()
    assert first.hash_source is put


# -- passes of passprint's, and the mode "passes"


@passprint.graph_pass
def negate(graph: torch.fx.Graph) -> None:
    for node in graph.find_nodes(op="call_function", target=torch.sin):
        node.target = torch.cos


def _graph() -> torch.fx.Graph:
    return torch.fx.symbolic_trace(lambda x: torch.sin(x)).graph


@pytest.mark.parametrize("one", [negate, passprint.PassManager([negate])], ids=["pass", "manager"])
@pytest.mark.parametrize("mode", ["identity", "passes"])
def test_passes_of_passprint_are_vllms_too(host: Host, mode: str, one: Any) -> None:
    manager, passes = _manager(host, mode)
    assert isinstance(one, passes.InductorPass)
    manager.add(one)
    graph = _graph()
    with passes.pass_context(passes.Range(1, 8)):
        manager(graph)
        assert manager.uuid() == manager.uuid()
    assert [node.target for node in graph.find_nodes(op="call_function", target=torch.cos)]


def test_the_mode_passes_names_vllms_passes_in_their_order(host: Host) -> None:
    manager, passes = _manager(host, "passes")
    with passes.pass_context(passes.Range(1, 8)):
        manager(_graph())
    assert (
        str(manager.pipeline()) == "no-op-elimination,scale,cleanup,vllm-ir-lowering,cleanup,cleanup,cleanup"
    )


def test_a_selection_leaves_a_pass_out_and_counts(host: Host) -> None:
    manager, passes = _manager(host, "passes")
    manager.add(negate)
    graph = _graph()
    with passes.pass_context(passes.Range(1, 8)):
        before = manager.uuid()
        with passprint.selected("-negate"):
            assert manager.uuid() != before
            manager(graph)
    assert not graph.find_nodes(op="call_function", target=torch.cos)
    assert host.start(mode="passes") == "compiled"
    with passprint.selected("-negate"):
        assert host.start(mode="passes") == "compiled"


def test_a_pass_that_raises_is_named(host: Host) -> None:
    host.texts["user_pass"] = PASS.replace(
        "self.factor =", "raise ValueError('no such scale')\n        self.factor ="
    )
    manager, passes = _manager(host, "passes")
    with (
        passes.pass_context(passes.Range(1, 8)),
        pytest.raises(passprint.PassError, match="the pass 'scale' raised ValueError: no such scale"),
    ):
        manager(_graph())


def test_vllms_passes_are_listed(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    from passprint.cli.app import run

    host.load("passes")
    assert run(["passes", "list", "--json"]) == 0
    listed = capsys.readouterr().out
    assert '"no-op-elimination"' in listed
    assert '"vllm-ir-lowering"' in listed
    os.environ["PASSPRINT_VLLM"] = "identity"
    assert run(["passes", "list", "--json"]) == 0
    assert '"vllm-ir-lowering"' not in capsys.readouterr().out
