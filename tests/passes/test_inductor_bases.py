"""A pass has Inductor's base class before Inductor is imported, and still has it afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

PASS = """
import sys, torch, passprint
class Nothing(passprint.InductorPass):
    def __call__(self, graph):
        pass
"""

UNTIL_THEN = """
digest = Nothing().uuid()
assert passprint.PassManager([Nothing()]).uuid()
assert "torch._inductor" not in sys.modules, "nothing has asked for the compiler"
"""

AFTERWARDS = """
assert torch._inductor.custom_graph_pass is module
assert issubclass(Nothing, module.CustomGraphPass) and isinstance(Nothing(), module.CustomGraphPass)
from torch._inductor import codecache
assert codecache.CustomGraphPass is module.CustomGraphPass, "what Inductor's caches ask for"
assert Nothing().uuid() == digest
"""

WAYS = {
    "an attribute of torch": "module = torch._inductor.custom_graph_pass",
    "from the package": "from torch._inductor import custom_graph_pass as module",
    "by its whole name": "import torch._inductor.custom_graph_pass\nmodule = torch._inductor.custom_graph_pass",
    "after the compiler": "import torch._inductor.compile_fx\nmodule = torch._inductor.custom_graph_pass",
}


@pytest.mark.parametrize("way", WAYS)
def test_one_base_class_whoever_imports_it(way: str) -> None:
    script = PASS + UNTIL_THEN + WAYS[way] + AFTERWARDS
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
