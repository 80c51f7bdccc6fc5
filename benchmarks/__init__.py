"""Measurements, apart from the tests: ``python -m benchmarks [NAME …]``, results as JSON in
``benchmarks/out/``.

A benchmark is a module here with a function ``run(repeats)``: it measures, prints its comparison, and
returns the figures as JSON data. Its constant ``REPEATS`` says how often it measures when nobody asks for
another number.
"""
