from vllm import envs


class VllmSerializableFunction:
    @classmethod
    def serialize_compile_artifacts(cls, compiled_fn):
        return b"artifact"


def aot_compile_hash_factors(vllm_config):
    return [repr(envs.compile_factors()), vllm_config.compute_hash()]
