"""An engine in miniature: a key, a look for the artifact, a compile, the artifact stored."""

import hashlib
import os
from contextlib import suppress

from vllm import envs


def _model_hash_key(fn):
    return f"{fn.__qualname__} {fn.__code__.co_firstlineno}"


def _verify_source_unchanged(source_info, vllm_config):
    if source_info.changed:
        raise RuntimeError("Source code has changed since the last compilation. Recompiling the model.")


def _try_load_aot_compiled_fn(model, aot_compilation_path):
    with suppress(OSError), open(aot_compilation_path, "rb") as file:
        return file.read()


def start(model, root):
    from vllm.compilation.caching import VllmSerializableFunction, aot_compile_hash_factors

    vllm_config = model.vllm_config
    vllm_config.compilation_config.init_backend(vllm_config)
    factors = [*aot_compile_hash_factors(vllm_config), _model_hash_key(model.forward)]
    path = os.path.join(root, hashlib.sha256(str(factors).encode()).hexdigest())
    if not envs.VLLM_DISABLE_COMPILE_CACHE and _try_load_aot_compiled_fn(model, path) is not None:
        return "loaded"
    if not envs.VLLM_DISABLE_COMPILE_CACHE:
        with suppress(RuntimeError):
            data = VllmSerializableFunction.serialize_compile_artifacts(None)
            with open(path, "wb") as file:
                file.write(data)
    return "compiled"
