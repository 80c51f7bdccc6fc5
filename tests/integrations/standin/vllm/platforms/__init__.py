from vllm.platforms.interface import Platform


class CpuPlatform(Platform):
    pass


current_platform = CpuPlatform()
