"""The models of ``benchmarks/zoo.py``: every base model of transformers, small and with random weights, and others.

A configuration is made small by the names of its fields (:data:`_SMALL`), in its nested configurations, too. Where
such a model does not run, it gets four layers (one in four may be of another kind), and then its own widths. Inputs are
guessed from the parameters of ``forward``; the first guess that runs eagerly is taken. Nothing here names a model, but
:data:`OTHERS`.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

BATCH, TOKENS, IMAGE, MELS = 2, 12, 32, 16
VOCABULARY = 128

Arguments = dict[str, Any]

_HEADS = 4
_KEYS = r"(.*_)?(num_)?(key_value|kv)_heads"
_LAYERS = (
    r"(?!.*(feat_extract|conv))(.*_)?"
    r"(num_.*layers|n_layers?|layers|depth|num_hidden_groups|inner_group_num|num_blocks)"
)
_SMALL: list[tuple[str, int]] = [  # the first pattern that fits the whole name; a value is never made larger
    (_LAYERS, 2),
    (r"first_k_dense_replace|num_nextn_predict_layers", 1),
    (r"vocab_size|.*_vocab_size|vocab_size_.*", VOCABULARY),
    (r"num_(local_|routed_)?experts|n_routed_experts|moe_num_experts|num_experts_per_layer", 4),
    (r"num_experts_per_tok(en)?|moe_topk|top_k|moe_top_k|moe_k|experts_per_token", 2),
    (r"n_group|topk_group", 1),
    (r"max_position_embeddings|n_positions|max_seq_len|max_source_positions|max_target_positions", 128),
]
_NARROW: list[tuple[str, int]] = [
    (r"image_size|input_size", IMAGE),
    (r"patch_size", 8),
    (r"num_mel_bins|n_mels|input_feat_per_channel", MELS),
    (_KEYS, 2),
    (r"(.*_)?(attention_heads|num_heads|n_heads?)", _HEADS),
    (r"qk_head_dim", 16),
    (r"(.*_)?head_dim|d_kv", 8),
    (r"(.*_)?(hidden_size|d_model|embed_dim|n_embd|dim|embedding_size|hidden_dim|projection_dim)", 32),
    (r"(.*_)?(intermediate_size|ffn_dim|d_ff|n_inner|ffn_hidden_size|mlp_dim)", 64),
    (r"q_lora_rank|kv_lora_rank", 16),
    (r"qk_nope_head_dim|qk_rope_head_dim|v_head_dim", 8),
]
_TOKEN = re.compile(r"(.*_)?(token_id|token_index|token_ids)")
_SKIPPED = {
    "id2label",
    "label2id",
    "transformers_version",
    "model_type",
    "dtype",
    "_name_or_path",
    "architectures",
}


SIZES = ("small", "deeper", "wide")


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which of the guesses runs: one of :data:`SIZES`, and the number of the guess for the inputs."""

    size: str
    inputs: int


@dataclasses.dataclass
class Built:
    """A model with two calls of the same shapes; the second has other values."""

    model: Any
    family: str
    calls: list[Arguments]


def names() -> list[str]:
    """All models: those that are written here, then transformers', one for each class of model."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    seen: set[str] = set()
    found = list(OTHERS)
    for name, classes in MODEL_MAPPING_NAMES.items():
        first = classes if isinstance(classes, str) else classes[0]
        if first not in seen:
            seen.add(first)
            found.append(name)
    return found


def choose(name: str) -> tuple[Choice, Built]:
    """The first guess that runs eagerly. Raises the first guess's error where none does."""
    first: Exception | None = None
    for size in SIZES:
        if size != "small" and name in OTHERS:
            break
        if size == "wide" and _parameters(name) > _MOST_PARAMETERS:
            break
        try:
            tried = list(_guessed(name, size))
        except Exception as error:  # noqa: BLE001  a configuration that cannot be made small
            first = first or error
            continue
        for number, (model, calls) in enumerate(tried):
            try:
                with torch.no_grad():
                    for call in calls:
                        model(**call)
            except Exception as error:  # noqa: BLE001  whatever it is: the model does not run like this
                first = first or error
            else:
                return (choice := Choice(size, number)), build(name, choice)
    raise first or RuntimeError("no arguments to try")


_MOST_PARAMETERS = 100_000_000


def _parameters(name: str) -> int:
    """How many parameters a model of its own widths has; many where that cannot be told."""
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            return sum(one.numel() for one in AutoModel.from_config(small_config(name, "wide")).parameters())
    except Exception:  # noqa: BLE001  as above
        return 2 * _MOST_PARAMETERS


def build(name: str, choice: Choice) -> Built:
    """The model of a choice, and its calls. The same ones each time."""
    model, calls = next(itertools.islice(_guessed(name, choice.size), choice.inputs, None))
    return Built(model, "other" if name in OTHERS else family(model), calls)


def _guessed(name: str, size: str) -> Iterator[tuple[Any, list[Arguments]]]:
    """The model with one guess after the other."""
    torch.manual_seed(0)
    if name in OTHERS:
        model, call = OTHERS[name]()
        yield model.eval(), [call, _other_values(call)]
        return
    from transformers import AutoModel

    model = AutoModel.from_config(small_config(name, size)).eval()
    torch.manual_seed(0)
    for call in guesses(model):
        yield model, [call, _other_values(call)]


def family(model: Any) -> str:
    """``text``, ``vision``, ``audio`` or ``other``, by the model's main input."""
    main = str(getattr(model, "main_input_name", ""))
    for word, found in (
        ("input_ids", "text"),
        ("pixel", "vision"),
        ("input_features", "audio"),
        ("input_values", "audio"),
    ):
        if word in main:
            return found
    return "other"


def small_config(name: str, size: str) -> Any:
    """The default configuration of a model type, made small."""
    from transformers import CONFIG_MAPPING

    return _small(CONFIG_MAPPING[name], size)


def _small(kind: Any, size: str) -> Any:
    default = kind()
    given: dict[str, Any] = {}
    nested = {}
    for name in getattr(default, "sub_configs", {}) or {}:
        inner = getattr(default, name, None)
        if inner is not None and hasattr(inner, "to_dict"):
            small = _small(type(inner), size)
            nested[name] = {**small.to_dict(), "model_type": inner.model_type}
    given |= nested
    heads = getattr(default, "num_attention_heads", None)
    for name, value in default.to_dict().items():
        if name not in _SKIPPED and name not in nested:
            changed = _smaller(name, value, size, heads)
            if changed is not None:
                given[name] = changed
    return kind(**given)


def _smaller(name: str, value: Any, size: str, heads: Any) -> Any:
    """What a field becomes, or None where it stays as it is."""
    if type(value) is int:
        if _TOKEN.fullmatch(name):
            return _token(name) if value >= VOCABULARY else None
        if re.fullmatch(_LAYERS, name) and size == "deeper":
            return 4 if value > 4 else None
        if re.fullmatch(_KEYS, name) and size != "wide" and value == heads:
            return _HEADS
        for pattern, most in [*_SMALL, *(_NARROW if size != "wide" else ())]:
            if re.fullmatch(pattern, name):
                return most if value > most else None
        return None
    if isinstance(value, list | tuple) and name == "image_size" and size != "wide":
        return [IMAGE] * len(value)
    if isinstance(value, list) and name == "depths" and all(type(one) is int for one in value):
        return [min(one, 1 if size == "small" else 2) for one in value]
    return None


def _token(name: str) -> int:
    """A token's number inside the small vocabulary, another one for each name; inputs use those below."""
    return VOCABULARY - 1 - sum(name.encode()) % 24


def guesses(model: Any) -> Iterator[Arguments]:
    """Arguments that ``forward`` may take, the likeliest first."""
    parameters = inspect.signature(model.forward).parameters
    config = model.config
    takes = parameters.__contains__
    text: Arguments = {}
    if takes("input_ids"):
        text["input_ids"] = _ids()
        if takes("attention_mask"):
            text["attention_mask"] = torch.ones(BATCH, TOKENS, dtype=torch.long)
    if takes("decoder_input_ids"):
        text["decoder_input_ids"] = _ids()
    if takes("bbox"):
        text["bbox"] = torch.tensor([1, 2, 30, 40]).repeat(BATCH, TOKENS, 1)
    images = list(_images(config)) if takes("pixel_values") else []
    sounds = [
        (name, sound)
        for name in ("input_features", "input_values")
        if takes(name)
        for sound in _sounds(config, name)
    ]
    main = str(getattr(model, "main_input_name", ""))
    if "pixel" in main:
        for image in images:
            yield {"pixel_values": image}
        for image in images:
            yield {**text, "pixel_values": image}
    for name, sound in sounds:
        decoder = {key: value for key, value in text.items() if key.startswith("decoder")}
        yield {name: sound}
        yield {**decoder, name: sound}
    if text:
        yield text
        if "attention_mask" in text:
            yield {key: value for key, value in text.items() if key != "attention_mask"}
        if "decoder_input_ids" in text:
            yield {key: value for key, value in text.items() if key != "decoder_input_ids"}
        for image in images:
            yield {**text, "pixel_values": image}
    if takes("grid_thw") and not text:
        patch = _int(config, ("patch_size",), 8) ** 2 * _int(config, ("temporal_patch_size",), 1)
        main = next(iter(parameters))
        channels = _int(config, ("in_channels", "num_channels", "in_chans"), 3)
        yield {main: torch.randn(16, channels * patch), "grid_thw": torch.tensor([[1, 4, 4]])}
    if takes("hidden_states") and not text:
        width = int(getattr(config, "hidden_size", 32))
        yield {"hidden_states": torch.randn(BATCH, TOKENS, width)}
    if takes("past_values"):
        length = int(getattr(config, "context_length", getattr(config, "prediction_length", 32)) or 32)
        channels = int(getattr(config, "num_input_channels", 1))
        yield {"past_values": torch.randn(BATCH, length, channels)}
        yield {"past_values": torch.randn(BATCH, length)}
    yield from _by_annotation(parameters, config)


def _ids() -> torch.Tensor:
    """Token numbers that no special token has."""
    return torch.randint(6, VOCABULARY - 32, (BATCH, TOKENS))


def _images(config: Any) -> Iterator[torch.Tensor]:
    """Images as a vision model may take them: (batch, channels, height, width), then videos, then patches."""
    inner = getattr(config, "vision_config", None) or getattr(config, "backbone_config", None) or config
    channels = _int(inner, ("num_channels", "in_channels", "in_chans"), 3)
    size = getattr(inner, "image_size", None) or getattr(config, "image_size", None) or 64
    height, width = size if isinstance(size, list | tuple) else (size, size)
    yield torch.randn(BATCH, channels, int(height), int(width))
    for other in (64, 224):
        yield torch.randn(BATCH, channels, other, other)
    frames = _int(inner, ("num_frames", "frames_per_clip"), 4)
    yield torch.randn(BATCH, frames, channels, int(height), int(width))
    patch = _int(inner, ("patch_size",), 8)
    yield torch.randn(BATCH, 16, channels * patch * patch)


def _sounds(config: Any, name: str) -> Iterator[torch.Tensor]:
    """Sounds: features by time and by bin in both orders, or samples."""
    inner = getattr(config, "audio_config", None) or getattr(config, "encoder_config", None) or config
    if isinstance(inner, Mapping):
        inner = config
    bins = _int(
        inner, ("num_mel_bins", "n_mels", "input_feat_per_channel", "feature_size", "input_size"), MELS
    )
    bins = _int(inner, ("feature_projection_input_dim", "input_dim"), bins)
    positions = _int(inner, ("max_source_positions", "max_length"), 64)
    if name == "input_values":
        yield torch.randn(BATCH, 2000)
        yield torch.randn(BATCH, 1, 2000)
        yield torch.randn(BATCH, positions, bins)
    yield torch.randn(BATCH, bins, 2 * positions)
    yield torch.randn(BATCH, 64, bins)
    yield torch.randn(BATCH, bins, 64)


def _int(config: Any, names: tuple[str, ...], otherwise: int) -> int:
    return next((v for name in names if type(v := getattr(config, name, None)) is int), otherwise)


def _by_annotation(parameters: Mapping[str, inspect.Parameter], config: Any) -> Iterator[Arguments]:
    """For a ``forward`` with names of its own: a tensor for each required parameter, of one shape after the other."""
    required = [
        name
        for name, one in parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    width = _int(config, ("hidden_size", "d_model"), 32)
    if required:
        for shape in (
            (BATCH, TOKENS, width),
            (BATCH, width),
            (BATCH, 3, 64, 64),
            (BATCH, 2000),
            (BATCH, 1, 2000),
        ):
            yield {name: torch.randn(*shape) for name in required}


def _other_values(call: Arguments) -> Arguments:
    """The same shapes with other values; masks stay as they are."""

    def changed(name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or "mask" in name or name in ("bbox", "edges"):
            return value
        return value.flip(-1).contiguous() if not value.is_floating_point() else 0.5 * value.flip(-1) + 0.1

    return {name: changed(name, value) for name, value in call.items()}


def _unet() -> tuple[Any, Arguments]:
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    states = torch.randn(BATCH, TOKENS, 32)
    call = {
        "sample": torch.randn(BATCH, 4, 16, 16),
        "timestep": torch.tensor([1, 9]),
        "encoder_hidden_states": states,
    }
    return model, call


def _dit() -> tuple[Any, Arguments]:
    from diffusers import DiTTransformer2DModel

    model = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=2,
        sample_size=16,
        patch_size=2,
        num_embeds_ada_norm=10,
    )
    call = {
        "hidden_states": torch.randn(BATCH, 4, 16, 16),
        "timestep": torch.tensor([1, 9]),
        "class_labels": torch.tensor([3, 4]),
    }
    return model, call


def _vae() -> tuple[Any, Arguments]:
    from diffusers import AutoencoderKL

    model = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8, sample_size=16)
    return model, {"sample": torch.randn(BATCH, 3, 16, 16)}


class Graph(torch.nn.Module):
    """A graph network: three rounds of messages along edges, summed at their targets (Gilmer et al., 2017)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.rounds = torch.nn.ModuleList([torch.nn.Linear(2 * width, width) for _ in range(3)])

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, target = edges
        for one in self.rounds:
            messages = one(torch.cat([nodes[source], nodes[target]], -1)).relu()
            nodes = nodes + torch.zeros_like(nodes).index_add(0, target, messages)
        return nodes


class Experts(torch.nn.Module):
    """A mixture of four experts, two for each token, computed for all and weighted (Shazeer et al., 2017)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.router = torch.nn.Linear(width, 4)
        self.experts = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(2, -1)
        gates = torch.zeros(*x.shape[:-1], 4).scatter(-1, chosen, weights)
        return sum(
            (gates[..., i : i + 1] * one(x).relu() for i, one in enumerate(self.experts)), torch.zeros_like(x)
        )


class StateSpace(torch.nn.Module):
    """A diagonal state-space layer, scanned step by step (Gu and Dao, 2023)."""

    def __init__(self, width: int = 16, state: int = 4) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(-torch.rand(width, state))
        self.b, self.c = torch.nn.Linear(width, state), torch.nn.Linear(width, state)
        self.step = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = torch.nn.functional.softplus(self.step(x))
        state = x.new_zeros(x.shape[0], *self.a.shape)
        outputs = []
        for i in range(x.shape[1]):
            change = steps[:, i, :, None]
            state = state * (change * self.a).exp() + change * self.b(x[:, i])[:, None] * x[:, i, :, None]
            outputs.append((state * self.c(x[:, i])[:, None]).sum(-1))
        return torch.stack(outputs, 1)


def _resnet18() -> tuple[Any, Arguments]:
    from benchmarks.start_resnet import resnet18

    return resnet18(), {"input": torch.randn(BATCH, 3, 64, 64)}


OTHERS: dict[str, Callable[[], tuple[Any, Arguments]]] = {
    "diffusers unet": _unet,
    "diffusers dit": _dit,
    "diffusers vae": _vae,
    "own resnet18": _resnet18,
    "own graph network": lambda: (
        Graph(),
        {"nodes": torch.randn(10, 16), "edges": torch.randint(0, 10, (2, 30))},
    ),
    "own mixture of experts": lambda: (Experts(), {"x": torch.randn(BATCH, TOKENS, 32)}),
    "own state space": lambda: (StateSpace(), {"x": torch.randn(BATCH, 6, 16)}),
}
