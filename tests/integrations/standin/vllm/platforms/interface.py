class Platform:
    @classmethod
    def get_pass_manager_cls(cls):
        return "vllm.compilation.passes.pass_manager.PostGradPassManager"
