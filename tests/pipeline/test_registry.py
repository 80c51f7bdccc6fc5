"""Which passes are known by name."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch.fx import Graph

from passprint import PipelineError
from passprint.passes import CallableInductorPass, InductorPass, PatternPass
from passprint.passes.naming import kebab_case
from passprint.pipeline import PassManager, get_pass, list_passes
from passprint.pipeline.registry import RegistryWarning, _load_everything


class RegistrySample(InductorPass):
    def __call__(self, graph: Graph) -> None:
        return None


class _Hidden(RegistrySample):
    pass


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs packages: ``plugins(distribution, module, class name, pass name)``."""

    def install(
        distribution: str,
        module: str,
        kind: str,
        name: str | None,
        target: str | None = None,
        *,
        offered_as: str | None = None,
        code: str = "",
    ) -> None:
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        offered = name or kebab_case(kind)
        (info / "entry_points.txt").write_text(
            f"[passprint.passes]\n{offered_as or offered} = {target or f'{module}:{kind}'}\n"
        )
        own = f"    name: ClassVar[str] = {name!r}\n" if name else ""
        (tmp_path / f"{module}.py").write_text(
            f"{code}\nfrom typing import ClassVar\nfrom passprint.passes import InductorPass\n"
            f"class {kind}(InductorPass):\n{own}    def __call__(self, graph): pass\n"
        )
        installed.append(module)
        importlib.invalidate_caches()
        _load_everything.cache_clear()

    installed: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    for module in installed:
        sys.modules.pop(module, None)
    _load_everything.cache_clear()
    gc.collect()


def test_the_library_and_own_classes_are_known() -> None:
    known = list_passes()
    assert list(known) == sorted(known)
    assert known["registry-sample"] is get_pass("registry-sample") is RegistrySample
    assert known["noop-elimination"].__module__ == "passprint.passes.library.noop_elimination"
    assert not {InductorPass, PatternPass, CallableInductorPass, _Hidden} & set(known.values())


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(PipelineError, match=r"'registry-smaple'; did you mean 'registry-sample'\?"):
        get_pass("registry-smaple")
    with pytest.raises(PipelineError, match=r"'qqqqq'; known: .*registry-sample"):
        get_pass("qqqqq")


def test_two_classes_with_one_name_are_an_error_that_names_both() -> None:
    class Usurper(RegistrySample):
        name: ClassVar[str] = "registry-sample"

    with pytest.raises(PipelineError, match=r"RegistrySample and by .*Usurper"):
        get_pass("registry-sample")
    with pytest.raises(PipelineError, match="'registry-sample' is claimed"):
        list_passes()
    with pytest.raises(PipelineError, match="'registry-sample' is claimed"):
        PassManager.parse("noop-elimination,registry-sample")
    # only the name in dispute is out of use
    assert str(PassManager.parse("noop-elimination")) == "noop-elimination"
    del Usurper
    assert get_pass("registry-sample") is RegistrySample


def test_defining_a_class_again_replaces_it() -> None:
    def define(step: int) -> type[InductorPass]:
        class DefinedAgain(RegistrySample):
            value: int = step

        return DefinedAgain

    kept = [define(1), define(2)]
    assert get_pass("defined-again") is kept[1]
    assert PassManager.parse("defined-again").passes == (kept[1](),)


def test_installed_packages_bring_passes(plugins: Any) -> None:
    plugins("pack-one", "pack_one_module", "FromAPackage", None)
    assert get_pass("from-a-package").__module__ == "pack_one_module"
    assert str(PassManager.parse("from-a-package")) == "from-a-package"


def test_two_packages_with_one_name_are_an_error_that_names_both(plugins: Any) -> None:
    plugins("pack-two", "pack_two_module", "Two", "same-name")
    plugins("pack-three", "pack_three_module", "Three", "same-name")
    with pytest.raises(PipelineError) as caught:
        get_pass("same-name")
    assert "pack_two_module.Two (of the package pack-two)" in str(caught.value)
    assert "pack_three_module.Three (of the package pack-three)" in str(caught.value)


def test_what_a_package_offers_must_be_a_pass(plugins: Any) -> None:
    plugins("pack-five", "pack_five_module", "Five", None, "pack_five_module:ClassVar")
    with pytest.warns(RegistryWarning, match="pack-five offers .* not a pass class"):
        list_passes()


@pytest.mark.parametrize("code", ["raise RuntimeError('no such device')", "class ("])
def test_a_package_that_breaks_does_not_take_the_others_along(plugins: Any, code: str) -> None:
    plugins("pack-six", "pack_six_module", "Six", None, code=code)
    plugins("pack-seven", "pack_seven_module", "Seven", None)
    with pytest.warns(
        RegistryWarning, match=r"pack-six offers .* cannot be imported \((RuntimeError|SyntaxError): "
    ):
        assert str(PassManager.parse("seven")) == "seven"


def test_an_entry_point_of_another_name_than_the_pass_is_a_warning_with_both(plugins: Any) -> None:
    plugins("pack-eight", "pack_eight_module", "Eight", None, offered_as="fuse-eight")
    with pytest.warns(
        RegistryWarning, match="pack-eight offers .* 'fuse-eight', and the pass calls itself 'eight'"
    ):
        assert get_pass("eight").__module__ == "pack_eight_module"


@pytest.mark.parametrize("name", ["fixed-point", "pre-grad"])
def test_words_of_a_pipelines_text_are_no_names(name: str) -> None:
    reserved = type("ReservedWord", (RegistrySample,), {"name": name, "__module__": __name__})
    with pytest.raises(PipelineError, match=f"'{name}' of .*ReservedWord has a meaning"):
        get_pass(name)
    with pytest.raises(PipelineError, match="has a meaning"):
        list_passes()
    assert get_pass("registry-sample") is RegistrySample
    del reserved
    gc.collect()
    list_passes()


@pytest.mark.parametrize("target", ["no_such_module:X", "pack_four_module:NoSuchClass"])
def test_a_package_that_cannot_be_imported_is_left_out_with_a_warning(plugins: Any, target: str) -> None:
    plugins("pack-four", "pack_four_module", "Four", None, target)
    with pytest.warns(RegistryWarning, match="pack-four offers .* as the pass 'four'"):
        known = list_passes()
    assert "registry-sample" in known


def test_a_word_that_a_name_begins_with_is_a_hint() -> None:
    with pytest.raises(PipelineError, match=r"'dedupe'; did you mean 'dedupe-expressions'\?"):
        PassManager.parse("dedupe")
