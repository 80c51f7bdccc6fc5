"""Models of transformers, whose configurations ask much of Python, start without a trace."""

from __future__ import annotations

from pathlib import Path

from tests.compiler.processes import in_new_process

CHILD = """
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=64)
torch.manual_seed(0)
found = {{}}
for model in (LlamaForCausalLM(LlamaConfig(**small)).eval(), BertModel(BertConfig(**small)).eval()):
    compiled = passprint.compile(model, cache={cache!r}, dynamic={{"input_ids": (1,)}})
    ids = torch.arange(8)[None]
    with torch.no_grad():
        torch.testing.assert_close(compiled(input_ids=ids)[0], model(input_ids=ids)[0], atol=1e-4, rtol=1e-4)
    found[type(model).__name__] = [compiled.report.loaded, compiled.report.traced_because]
print(json.dumps(found))
"""


def test_the_second_start_traces_nothing(tmp_path: Path) -> None:
    child = CHILD.format(cache=str(tmp_path / "cache"))
    assert [loaded for loaded, _ in in_new_process(tmp_path, child).values()] == [0, 0]
    assert in_new_process(tmp_path, child) == {"LlamaForCausalLM": [1, []], "BertModel": [1, []]}
