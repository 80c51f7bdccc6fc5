"""Environment variables, and those that a compile is keyed by."""

import os


def __getattr__(name):
    if name == "VLLM_DISABLE_COMPILE_CACHE":
        return os.environ.get(name, "0") == "1"
    raise AttributeError(name)


def compile_factors():
    names = ("VLLM_USE_FAST", "VLLM_SIDE_CHANNEL_HOST", "VLLM_SIDE_CHANNEL_PORT")
    return {name: os.environ.get(name) for name in names}


def disable_envs_cache():
    pass
