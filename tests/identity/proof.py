"""The mutation test: ``python -m tests.identity.proof`` edits real packages and counts what is missed.

Each text is imported in a process of its own (a fork of one that has not imported the package), with the
edited module put in the place of its file. Prints a table by kind, and every missed or needless edit.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.identity.mutations import (
    Edit,
    behaviour_edits,
    declared_ignored,
    definitions,
    leaving_out,
    neutral_edits,
)

from passprint.identity import Memo

PACKAGES = ("passprint", "packaging", "click", "jinja2")
SUBJECT = "subject_of_proof"
_SECONDS = 60


@dataclass
class Tally:
    """What was found for one package."""

    package: str
    changing: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    neutral: Counter[str] = field(default_factory=Counter)
    needless: list[str] = field(default_factory=list)
    broken: int = 0


class _Edited(SourceFileLoader):
    """Loads a module from a text that is not in its file."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.text, self.path, "exec", dont_inherit=True)
        return code


class _Finder:
    """Puts texts in the place of modules' files."""

    def __init__(self, texts: dict[str, str], folder: Path) -> None:
        self.texts = texts
        self.folder = folder

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self.texts:
            return None
        base = self.folder.joinpath(*name.split("."))
        is_package = base.is_dir()
        file = base / "__init__.py" if is_package else base.with_suffix(".py")
        return importlib.util.spec_from_file_location(
            name,
            str(file),
            loader=_Edited(name, str(file), self.texts[name]),
            submodule_search_locations=[str(base)] if is_package else None,
        )


def digests(folder: Path, module: str, names: list[str], texts: dict[str, str]) -> dict[str, str] | None:
    """The digests of a module's definitions with some modules edited, from a fresh process; None if it broke."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        status = 1
        try:
            signal.alarm(_SECONDS)
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
            warnings.simplefilter("ignore")
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(folder))
            sys.meta_path.insert(0, _Finder(texts, folder))  # type: ignore[arg-type]
            package = module.partition(".")[0]
            for imported in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[imported]  # the asking process uses the package, unedited, itself
            loaded = importlib.import_module(module)
            memo = Memo(first_party=[package])
            found = {}
            for name in names:
                if name in vars(loaded):
                    value = vars(loaded)[name]
                    found[name] = memo.digest(value) or memo.fingerprint(value).digest
            with os.fdopen(write, "w") as pipe:
                json.dump(found, pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer) if answer else None


def _copy_package(package: str, folder: Path) -> str:
    """Copy a package to where it can be edited; passprint gets another name, for it also does the asking."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            f"{package} is not installed as a package; install it or name others with --packages."
        )
    source = Path(spec.submodule_search_locations[0])
    name = SUBJECT if package == "passprint" else package
    shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if name == SUBJECT:
        for file in (folder / name).rglob("*.py"):
            file.write_text(file.read_text().replace("passprint", SUBJECT))
    return name


def _modules(folder: Path, name: str) -> dict[str, Path]:
    found = {}
    for file in sorted((folder / name).rglob("*.py")):
        relative = file.relative_to(folder).with_suffix("")
        parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
        if "__main__" not in parts:
            found[".".join(parts)] = file
    return found


@dataclass(frozen=True)
class _Case:
    """One edit, with the digests that its observers had before it."""

    folder: Path
    module: str
    edit: Edit
    before: dict[str, str]
    must: bool


def _try(case: _Case) -> list[tuple[str, bool, str]] | None:
    """For each observer: the kind of edit, whether the answer was wrong, and where; None if the edit broke it."""
    edit = case.edit
    after = digests(case.folder, case.module, list(edit.observers), {case.module: edit.text})
    if after is None:
        return None
    answers = []
    for observer in edit.observers:
        if observer in case.before:
            itself = observer == edit.owner or not case.must
            kind = edit.kind if itself else f"{edit.kind}, seen from a user of it"
            is_wrong = (case.before[observer] != after.get(observer)) != case.must
            answers.append(
                (kind, is_wrong, f"{case.module}:{observer} {edit.kind} in {edit.owner} {edit.where}")
            )
    return answers


def _count(tally: Tally, case: _Case, answers: list[tuple[str, bool, str]] | None) -> None:
    if answers is None:
        tally.broken += 1
        return
    kinds, wrong = (tally.changing, tally.missed) if case.must else (tally.neutral, tally.needless)
    for kind, is_wrong, line in answers:
        kinds[kind] += 1
        if is_wrong:
            wrong.append(line)


@dataclass(frozen=True)
class _Plan:
    """A module, and the digests of its definitions: as it is, and written anew from its tree, as edits are."""

    module: str
    source: str
    plain: dict[str, str]
    rewritten: dict[str, str]


def _plan(where: tuple[Path, str, Path]) -> _Plan | None:
    """None for a module that does not import, or defines nothing."""
    folder, module, file = where
    source = file.read_text()
    names = list(definitions(ast.parse(source)))
    plain = digests(folder, module, names, {})
    if not plain:
        return None
    rewritten = digests(folder, module, names, {module: ast.unparse(ast.parse(source))}) or {}
    return _Plan(module, source, plain, rewritten)


def _cases(plans: list[_Plan], folder: Path, changing: int, neutral: int, seed: int) -> list[_Case]:
    """Edits of all modules of a package, each module by the share that it has of the text."""
    weight = sum([len(plan.source) for plan in plans]) or 1
    ignored: frozenset[str] = frozenset().union(*[declared_ignored(plan.source) for plan in plans])
    cases = []
    for index, plan in enumerate(plans):
        share = len(plan.source) / weight
        with leaving_out(ignored):
            edits = behaviour_edits(plan.source, seed + index, round(changing * share) + 1)
        cases += [_Case(folder, plan.module, edit, plan.rewritten, True) for edit in edits]
        edits = neutral_edits(plan.source, seed + index, round(neutral * share) + 1)
        cases += [_Case(folder, plan.module, edit, plan.plain, False) for edit in edits]
    return cases


def prove(package: str, changing: int, neutral: int, seed: int, workers: int = 1) -> Tally:
    """Edit a package's modules in turn until there are enough edits of each sort; ``workers``: processes."""
    tally = Tally(package)
    if package == "passprint":
        with contextlib.suppress(ImportError):  # here once, and not in every process again
            importlib.import_module("torch._inductor.pattern_matcher")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        subject = _copy_package(package, folder)
        each: Callable[..., Iterable[Any]] = map
        if workers > 1:
            each = stack.enter_context(multiprocessing.get_context("fork").Pool(workers)).imap
        modules = [(folder, module, file) for module, file in _modules(folder, subject).items()]
        plans = [plan for plan in each(_plan, modules) if plan is not None]
        cases = _cases(plans, folder, changing, neutral, seed)
        for case, answers in zip(cases, each(_try, cases), strict=True):
            _count(tally, case, answers)
    return tally


def main() -> None:
    """Run on all packages, print the counts, and fail where anything was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packages", nargs="*", default=list(PACKAGES))
    parser.add_argument("--changing", type=int, default=700, help="behaviour-changing edits per package")
    parser.add_argument("--neutral", type=int, default=350, help="neutral edits per package")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tallies = []
    for package in options.packages:
        tally = prove(package, options.changing, options.neutral, options.seed, options.workers)
        tallies.append(tally)
        changed, left = sum(tally.changing.values()), sum(tally.neutral.values())
        print(
            f"{package}: {changed} behaviour-changing, {len(tally.missed)} missed; "
            f"{left} neutral, {len(tally.needless)} needless; {tally.broken} edits did not import",
            flush=True,
        )
        for line in tally.missed:
            print("  missed  ", line)
        for line in tally.needless:
            print("  needless", line)
    for title, counts in (("behaviour-changing", "changing"), ("neutral", "neutral")):
        total: Counter[str] = Counter()
        for tally in tallies:
            total.update(getattr(tally, counts))
        print(f"{title} by kind:", ", ".join([f"{kind} {count}" for kind, count in total.most_common()]))
    if options.json:
        options.json.write_text(json.dumps([vars(tally) for tally in tallies], indent=1))
    raise SystemExit(1 if any(tally.missed for tally in tallies) else 0)


if __name__ == "__main__":
    main()
