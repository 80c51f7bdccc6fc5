"""What a compiled piece is once it is stored, and how it runs again: portable wrappers and kernels by file."""
