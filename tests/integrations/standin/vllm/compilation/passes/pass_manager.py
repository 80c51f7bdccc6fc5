from torch._inductor.custom_graph_pass import CustomGraphPass

from vllm.compilation.passes.inductor_pass import InductorPass, get_pass_context
from vllm.compilation.passes.ir.lowering_pass import VllmIRLoweringPass
from vllm.compilation.passes.vllm_inductor_pass import VllmInductorPass
from vllm.config.compilation import PassConfig


class NoOpEliminationPass(VllmInductorPass):
    def __call__(self, graph):
        self.begin()


class CleanupPass(VllmInductorPass):
    def __call__(self, graph):
        self.begin()
        graph.eliminate_dead_code()


class PostGradPassManager(CustomGraphPass):
    def __init__(self):
        self.passes = []

    def configure(self, config):
        self.pass_config = PassConfig()
        self.passes += [NoOpEliminationPass(config.model_config)]
        self.ir_lowering = VllmIRLoweringPass(config.model_config)
        self.clone_elimination = CleanupPass(config.model_config)
        self.post_cleanup = CleanupPass(config.model_config)
        self.fix_functionalization = CleanupPass(config.model_config)

    def add(self, pass_):
        assert isinstance(pass_, InductorPass)
        self.passes.append(pass_)

    def __call__(self, graph):
        compile_range = get_pass_context().compile_range
        for pass_ in self.passes:
            if pass_.is_applicable_for_range(compile_range):
                pass_(graph)
        for pass_ in (
            self.post_cleanup,
            self.ir_lowering,
            self.clone_elimination,
            self.fix_functionalization,
        ):
            pass_(graph)

    def uuid(self):
        uuids = [pass_.uuid() for pass_ in self.passes]
        return InductorPass.hash_dict({"passes": uuids, "range": str(get_pass_context().compile_range)})
