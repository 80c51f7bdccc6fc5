"""The demo: a real model run eagerly, by passprint and by plain ``torch.compile``, each in its own process.

``run.py`` (parent) walks the phases, ``processes.py`` starts and ends the children, ``child.py`` is what a
child does, ``models.py`` finds and loads models, ``result.py`` holds the figures, ``table.py`` lays them out.
"""
