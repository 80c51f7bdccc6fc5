"""The pass of these engines, as its author wrote it: three files, and what is edited in them."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "scale_helpers.py": '''"""A helper in a module of its own."""
FACTOR = 1.0


def factor():
    return FACTOR
''',
    "scale_base.py": '''"""A base class in a module of its own."""
import torch
from vllm.compilation.passes.inductor_pass import InductorPass


class ScaleBase(InductorPass):
    def sign(self):
        return 1.0

    def wanted(self, node):
        value = node.meta.get("val")
        is_mul = node.op == "call_function" and node.target is torch.ops.aten.mul.Tensor
        return is_mul and isinstance(value, torch.Tensor) and value.dim() == 2 and value.shape[-1] == 512
''',
    "scale_pass.py": '''"""A pass that scales what goes into the last layer of each MLP."""
import torch
from scale_base import ScaleBase
from scale_helpers import factor


class Scale(ScaleBase):
    def __call__(self, graph):
        for node in list(graph.nodes):
            if self.wanted(node):
                with graph.inserting_after(node):
                    scaled = graph.call_function(torch.ops.aten.mul.Tensor, (node, factor() * self.sign()))
                scaled.meta["val"] = node.meta["val"].clone()
                node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)


scale = Scale()
''',
}

OPAQUE = """
class Log:
    def __init__(self):
        self.file = open(__file__)

    def __deepcopy__(self, memo):
        return self  # vLLM copies passes


scale = Scale()
scale.log = Log()
"""

EDITS = {
    "helper": {"scale_helpers.py": ("FACTOR = 1.0", "FACTOR = -1.0")},
    "base": {"scale_base.py": ("return 1.0", "return -1.0")},
    "comment": {
        "scale_helpers.py": ("FACTOR = 1.0", "# by how much\nFACTOR = 1.0"),
        "scale_base.py": ("        return 1.0", "        # no change of sign\n        return 1.0"),
        "scale_pass.py": ("        for node", "        # every multiplication\n        for node"),
    },
    "opaque": {"scale_pass.py": ("scale = Scale()", OPAQUE)},
    "raises": {
        "scale_pass.py": ("        for node", '        raise ValueError("no such scale")\n        for node')
    },
}


def write_pass(folder: Path, edit: str | None = None) -> None:
    """Write the pass's files into a new folder, with one of `EDITS`."""
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        before, after = EDITS[edit].get(name, ("", "")) if edit else ("", "")
        assert before in text
        (folder / name).write_text(text.replace(before, after) if before else text)
