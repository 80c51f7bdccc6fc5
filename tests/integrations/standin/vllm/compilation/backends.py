class CompilerManager:
    def compute_hash(self, vllm_config):
        return "compiler"
