"""The oracle: random models, random mutations of what they read, each result compared with eager's.

``python -m tests.oracle --pairs N --seed S`` makes N pairs. A pair is a small model that was compiled before and one
mutation of its state, its code or its surroundings, in another process or in the same. Two figures count: how many
results were stale (wrong, because a stored program was served), and how many mutations that change nothing that can
be read had to be traced.

- ``fragments.py``: what a kind is made of, ``kinds/``: the kinds by subject, ``program.py``: the text of a model
- ``mutations.py``: what is mutated, ``child.py``: one process of a pair, ``server.py``: forks of it
- ``run.py``: the pairs of one model, ``__main__.py``: the command
"""
