import time

from vllm.compilation.passes.inductor_pass import InductorPass


class VllmInductorPass(InductorPass):
    dump_prefix = None

    def __init__(self, config):
        self.config = config

    def begin(self):
        self._start_time = time.perf_counter_ns()


class VllmPatternMatcherPass(VllmInductorPass):
    matched_count = 0
