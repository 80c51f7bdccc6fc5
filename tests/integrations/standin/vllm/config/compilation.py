"""Configuration objects; some fields are left out of the hashes by hand."""

import dataclasses
import hashlib


def _hash(items):
    return hashlib.sha256(repr(items).encode()).hexdigest()


@dataclasses.dataclass
class CompilationConfig:
    inductor_compile_config: dict = dataclasses.field(default_factory=dict)

    def compute_hash(self):
        items = self.inductor_compile_config.items()
        return _hash([(key, value.uuid() if hasattr(value, "uuid") else value) for key, value in items])

    def init_backend(self, vllm_config, prefix="", is_encoder=False):
        return "backend"


@dataclasses.dataclass
class PassConfig:
    fuse: bool = False


@dataclasses.dataclass
class ModelConfig:
    model: str = "llama"
    width: int = 4

    def compute_hash(self):
        return _hash([self.model, self.width])


@dataclasses.dataclass
class SpeculativeConfig:
    num_tokens: int = 3
    unread: int = 0

    def compute_hash(self):
        return _hash([])


@dataclasses.dataclass
class VllmConfig:
    compilation_config: CompilationConfig
    model_config: ModelConfig
    speculative_config: SpeculativeConfig
    instance_id: str = ""

    def compute_hash(self):
        return _hash([self.compilation_config.compute_hash(), self.model_config.compute_hash()])
