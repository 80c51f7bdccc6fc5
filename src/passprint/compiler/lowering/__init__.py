"""From a graph to machine code: the door to Inductor, how C++ kernels are built, and what the host can run."""
