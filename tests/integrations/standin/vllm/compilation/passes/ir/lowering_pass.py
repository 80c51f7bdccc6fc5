from vllm.compilation.passes.vllm_inductor_pass import VllmInductorPass


class VllmIRLoweringPass(VllmInductorPass):
    def __call__(self, graph):
        self.begin()

    def uuid(self):
        return super().uuid() + "|priorities"
