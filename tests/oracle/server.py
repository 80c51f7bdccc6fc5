"""A process that forks a fresh one for every job: torch is imported, nothing has been traced, no model imported.

``python -m tests.oracle.server bare|full`` reads jobs as lines of JSON and answers each with a line. In a "full" one
torch's compiler is imported as well, so that a trace does not wait for it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from tests.oracle.child import Job, Step, perform

SECONDS = 120
ROOT = Path(__file__).resolve().parents[2]


class Server:
    """The other end of such a process."""

    def __init__(self, hash_seed: int, *, bare: bool, kernels: str) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "TORCHINDUCTOR_CACHE_DIR": kernels}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.oracle.server", "bare" if bare else "full"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT,
        )

    def __call__(self, job: Job) -> list[Step]:
        """What a fresh process makes of the job."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a server of the oracle has died")
        return [Step(**step) for step in json.loads(line)]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _forked(job: Job) -> list[dict[str, Any]]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            os.setpgid(0, 0)
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            try:
                steps = perform(job)
            except BaseException:  # noqa: BLE001
                steps = [Step(eager_crash=traceback.format_exc())]
            with os.fdopen(write, "w") as pipe:
                json.dump([asdict(step) for step in steps], pipe)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = _read(pipe)
    if text is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):  # processes that it left behind
        os.killpg(child, signal.SIGKILL)
    if text:
        return json.loads(text)  # type: ignore[no-any-return]
    how = f"no answer in {SECONDS} seconds" if text is None else f"the process ended with status {status}"
    return [asdict(Step(crash=how))]


def _read(pipe: BinaryIO) -> bytes | None:
    """All that a child says, or None where it says nothing for too long."""
    found = b""
    while True:
        if not select.select([pipe], [], [], SECONDS)[0]:
            return None
        part = os.read(pipe.fileno(), 1 << 16)
        if not part:
            return found
        found += part


WARM_UP = """
import json, sys, tempfile
import torch, passprint
model = torch.nn.Sequential(torch.nn.Linear(8, 8)).eval()
with torch.no_grad():
    passprint.compile(model, cache=tempfile.mkdtemp(), passes="")(torch.randn(4, 8))
print("\\n@@" + json.dumps(sorted(sys.modules)))
"""


def _import_the_compiler(kernels: str) -> None:
    """All modules that a compile imports, without compiling anything in this process."""
    kept = Path(kernels) / "modules.json"
    if not kept.exists():
        done = subprocess.run([sys.executable, "-c", WARM_UP], capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"passprint compiles nothing here:\n{done.stderr}")
        whole = tempfile.NamedTemporaryFile("w", dir=kernels, delete=False)  # noqa: SIM115
        with whole:
            whole.write(done.stdout.rpartition("@@")[2])
        os.replace(whole.name, kept)
    for name in json.loads(kept.read_text()):
        if name.partition(".")[0] in ("torch", "sympy", "numpy", "passprint") or "." not in name:
            with suppress(Exception):
                importlib.import_module(name)
    with suppress(Exception):  # a hash of torch's own files, which each compile would make anew
        importlib.import_module("torch._inductor.codecache").torch_key()


def main() -> None:
    """Serve until the other end closes."""
    warnings.simplefilter("ignore")
    import passprint  # noqa: F401

    if sys.argv[1] == "full":
        _import_the_compiler(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    gc.freeze()
    for line in sys.stdin.buffer:
        answer = _forked(Job(**json.loads(line)))
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
