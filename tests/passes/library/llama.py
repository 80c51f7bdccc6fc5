"""Parts of transformers' own Llama, small and with random weights, as functions that tests compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

BATCH, LENGTH = 2, 5


def config(attention: str = "sdpa") -> LlamaConfig:
    return LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=1,
        intermediate_size=48,
        vocab_size=64,
        attn_implementation=attention,
    )


def decoder_layer(
    dtype: torch.dtype = torch.float32, attention: str = "sdpa"
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """One decoder layer and its arguments: hidden states, cosines, sines, and the mask."""
    torch.manual_seed(0)
    layer = LlamaDecoderLayer(config(attention), layer_idx=0).to(dtype).eval()
    hidden = torch.randn(BATCH, LENGTH, 32, dtype=dtype)
    cos, sin = LlamaRotaryEmbedding(config())(hidden, torch.arange(LENGTH)[None])
    mask = torch.zeros(BATCH, 1, LENGTH, LENGTH, dtype=dtype).masked_fill(
        torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1), float("-inf")
    )

    def run(hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Any:
        return layer(hidden, attention_mask=mask, position_embeddings=(cos, sin))

    run.layer = layer  # type: ignore[attr-defined]
    return run, (hidden, cos, sin, mask)


def vary_length(*tensors: Tensor, dim: int = 1) -> None:
    """Say that the sequence length of these arguments varies."""
    for tensor in tensors:
        torch._dynamo.mark_dynamic(tensor, dim)
