"""One start of a vLLM engine, in a process of its own: ``python -m tests.integrations.engines.child '{…}'``.

vLLM turns mode 3 of its compiler off on the CPU, and lacks some operators there that a pass compares with: both are
put right for this process. Prints one line of JSON: tokens, what was compiled, loaded and saved, warnings, seconds.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

STUBS = (
    "fused_add_rms_norm_static_fp8_quant",
    "rms_norm_dynamic_per_token_quant",
    "rms_norm_static_fp8_quant",
    "silu_and_mul_quant",
    "fused_qk_norm_rope",
)
PROMPT = (5, 17, 99, 256, 731)


def keep_mode_3() -> list[Any]:
    """Let mode 3 stand on the CPU; what is returned must live as long as the engine."""
    import torch
    from vllm.config import CompilationMode
    from vllm.platforms.cpu import CpuPlatform

    really = CpuPlatform.check_and_update_config.__func__
    libraries: list[Any] = []

    def check(cls: Any, vllm_config: Any) -> None:
        config = vllm_config.compilation_config
        asked = config.mode, config.backend, config.ir_enable_torch_wrap
        really(cls, vllm_config)
        if asked[0] != CompilationMode.VLLM_COMPILE:
            return
        config.mode, config.backend, config.ir_enable_torch_wrap = asked
        cls().import_kernels()
        if not libraries:
            import vllm._C  # noqa: F401  (the operators that there are)

            libraries.append(torch.library.Library("_C", "FRAGMENT"))
            for name in STUBS:
                if not hasattr(torch.ops._C, name):
                    libraries[0].define(f"{name}(Tensor x) -> ()")

    CpuPlatform.check_and_update_config = classmethod(check)
    return libraries


def start(given: dict[str, Any]) -> dict[str, Any]:
    """Start an engine, generate twelve tokens, and say what happened."""
    from vllm.compilation.counter import compilation_counter

    from vllm import LLM, SamplingParams

    kept = keep_mode_3()
    is_eager = given.get("pass") is None
    config = {"mode": 3, "compile_sizes": []}
    if not is_eager:
        config["inductor_passes"] = {"post_grad_custom_post_pass": given["pass"]}
    began = time.perf_counter()
    engine = LLM(
        given["model"],
        skip_tokenizer_init=True,
        enforce_eager=is_eager,
        dtype="float32",
        max_model_len=128,
        max_num_batched_tokens=128,
        max_num_seqs=4,
        enable_prefix_caching=False,
        **({} if is_eager else {"compilation_config": config}),
    )
    seconds = time.perf_counter() - began
    sampling = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True)
    outputs = engine.generate([{"prompt_token_ids": list(PROMPT)}], sampling)
    assert kept is not None
    return {
        "tokens": list(outputs[0].outputs[0].token_ids),
        "compiled": compilation_counter.num_aot_compiles + compilation_counter.num_graphs_seen,
        "loaded": compilation_counter.num_aot_artifacts_loaded,
        "saved": compilation_counter.num_aot_artifacts_saved,
        "seconds": seconds,
    }


def main() -> None:
    given = json.loads(sys.argv[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = start(given)
    ours = [str(one.message) for one in caught if one.category.__module__.startswith("passprint")]
    print(json.dumps({**found, "warnings": ours}), flush=True)


if __name__ == "__main__":
    main()
