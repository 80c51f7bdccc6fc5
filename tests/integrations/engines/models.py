"""A small random Llama as vLLM loads one: a folder with a configuration and weights."""

from __future__ import annotations

import json
from pathlib import Path

LAYERS, WIDTH, INNER, HEADS, KV_HEADS, WORDS = 8, 256, 512, 8, 4, 1024

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": WIDTH // HEADS,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "max_position_embeddings": 2048,
    "mlp_bias": False,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": WORDS,
}


def write_model(folder: Path, *, factor: float = 1.0) -> None:
    """Write the model; ``factor`` scales what goes into each ``down_proj``, as a pass of these tests does."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)

    def weight(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, generator=generator) * 0.08

    kv = KV_HEADS * WIDTH // HEADS
    tensors = {
        "model.embed_tokens.weight": weight(WORDS, WIDTH),
        "model.norm.weight": torch.ones(WIDTH),
        "lm_head.weight": weight(WORDS, WIDTH),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        tensors |= {
            f"{at}.input_layernorm.weight": torch.ones(WIDTH),
            f"{at}.post_attention_layernorm.weight": torch.ones(WIDTH),
            f"{at}.self_attn.q_proj.weight": weight(WIDTH, WIDTH),
            f"{at}.self_attn.k_proj.weight": weight(kv, WIDTH),
            f"{at}.self_attn.v_proj.weight": weight(kv, WIDTH),
            f"{at}.self_attn.o_proj.weight": weight(WIDTH, WIDTH),
            f"{at}.mlp.gate_proj.weight": weight(INNER, WIDTH),
            f"{at}.mlp.up_proj.weight": weight(INNER, WIDTH),
            f"{at}.mlp.down_proj.weight": weight(WIDTH, INNER) * factor,
        }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(tensors, str(folder / "model.safetensors"), {"format": "pt"})
