"""``python -m tests.identity.fuzz``: fingerprint many functions and classes of installed packages.

Nothing may crash or hang: each object gets a digest, or a named path to what is opaque. An object's module
is walked by content, the rest by version, as for a user's module. Prints how many of each there were.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import multiprocessing
import os
import pkgutil
import random
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from passprint.identity import Memo

PACKAGES = (
    "passprint",
    "packaging",
    "click",
    "jinja2",
    "mpmath",
    "networkx",
    "pygments",
    "rich",
    "sympy",
    "hypothesis",
    "libcst",
    "coverage",
    "numpy",
    "torch",
    "transformers",
)
_SLOW_IMPORT = ("sympy.parsing.autolev", "networkx.tests", "hypothesis.extra", "setuptools._vendor")


@dataclass
class Result:
    """What became of the objects."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def add(self, other: Result) -> None:
        """Count what another process found."""
        self.outcomes.update(other.outcomes)
        self.reasons.update(other.reasons)
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)


def _modules(package: str) -> Iterator[Any]:
    with contextlib.suppress(ImportError):
        root = importlib.import_module(package)
        yield root
        for info in pkgutil.walk_packages(
            getattr(root, "__path__", []), f"{package}.", onerror=lambda name: None
        ):
            if ".tests" in info.name or info.name.endswith("__main__") or info.name.startswith(_SLOW_IMPORT):
                continue
            with contextlib.suppress(Exception, SystemExit):
                yield importlib.import_module(info.name)


def objects(packages: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Functions and classes of the packages, methods and nested classes included, each once."""
    found: dict[int, tuple[str, Any]] = {}

    def add(name: str, value: Any, depth: int) -> None:
        if id(value) in found or not isinstance(value, (FunctionType, type)):
            return
        found[id(value)] = (name, value)
        if isinstance(value, type) and depth < 3:
            for key, member in list(vars(value).items()):
                inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
                add(f"{name}.{key}", inner, depth + 1)

    for package in packages:
        for module in _modules(package):
            for key, value in sorted(vars(module).items(), key=lambda item: item[0]):
                if str(getattr(value, "__module__", "")).partition(".")[0] == package:
                    add(f"{module.__name__}:{key}", value, 0)
    return list(found.values())


def _home(name: str, obj: Any) -> str:
    """The module that an object is from; where it was found, if it does not say."""
    module = getattr(obj, "__module__", None)
    return module if isinstance(module, str) else name.partition(":")[0]


def fuzz(
    packages: tuple[str, ...], count: int, seed: int, by_content: bool, limit: int = 60, workers: int = 1
) -> Result:
    """Fingerprint ``count`` objects drawn at random, each once, module by module.

    ``limit``: seconds of processor time for one object; more counts as a hang. ``workers``: processes.
    """
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pool = objects(packages)
    drawn = random.Random(seed).sample(pool, min(count, len(pool)))
    drawn.sort(key=lambda pair: _home(*pair))
    if workers == 1:
        return _try(drawn, by_content, limit)
    shares = [range(start, min(start + _SHARE, len(drawn))) for start in range(0, len(drawn), _SHARE)]
    result = Result()
    # The objects are not sent: a fork has them.
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("fork"), _keep, (drawn, by_content, limit)
    ) as processes:
        for share, part in zip(shares, processes.map(_try_share, shares), strict=True):
            result.add(part)
            if share.stop % (50 * _SHARE) == 0:
                print(f"{share.stop:,} of {len(drawn):,}", file=sys.stderr, flush=True)
    return result


_SHARE = 25
_kept: tuple[list[tuple[str, Any]], bool, int] = ([], True, 60)


def _keep(*given: Any) -> None:
    global _kept
    _kept = given  # type: ignore[assignment]


def _try_share(share: range) -> Result:
    drawn, by_content, limit = _kept
    return _try(drawn[share.start : share.stop], by_content, limit)


def _try(drawn: list[tuple[str, Any]], by_content: bool, limit: int) -> Result:
    """Fingerprint some objects in this process."""
    memo, asked_for = Memo(), ""
    result = Result()

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGVTALRM, too_long)
    for index, (name, obj) in enumerate(drawn):
        module = _home(name, obj) if by_content else ""
        if module != asked_for:
            memo, asked_for = Memo(first_party=[module], limit=64), module
        signal.setitimer(signal.ITIMER_VIRTUAL, limit)
        started = time.process_time()
        try:
            paths = memo.opaque_paths(obj)
            if index % 50 == 0:
                found = memo.fingerprint(obj)
                assert found.opaque == paths, "the whole fingerprint has other paths"
                assert not paths or memo.digest(obj) is None, "a digest of what is opaque"
            if not paths:
                digest = memo.digest(obj)
                assert digest is not None, "no digest and no path"
                result.outcomes["digest"] += 1
            else:
                result.outcomes["opaque, with a path"] += 1
                result.reasons[paths[0].rpartition(": ")[2]] += 1
        except TimeoutError:
            result.failures.append(f"{name}: took more than {limit} s of processor time")
        except BaseException as error:  # noqa: BLE001  (any at all is what is looked for)
            result.failures.append(f"{name}: {type(error).__name__}: {error}")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        result.slowest = max(result.slowest, (time.process_time() - started, name))
    return result


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--packages", nargs="*", default=list(PACKAGES))
    parser.add_argument("--by-version", action="store_true", help="third-party code by version, as keys do")
    options = parser.parse_args()
    packages = tuple(options.packages)
    result = fuzz(packages, options.count, options.seed, not options.by_version, workers=options.workers)
    print(sum(result.outcomes.values()), "objects:", dict(result.outcomes), "slowest", result.slowest)
    print("opaque because of:", result.reasons.most_common(12))
    for line in result.failures:
        print("FAILED", line)
    sys.exit(1 if result.failures else 0)


if __name__ == "__main__":
    main()
