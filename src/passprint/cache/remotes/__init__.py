"""Caches of other machines: what stands behind this machine's folder.

A remote keeps named bytes (``transport.py``: get, put, lock, walk). A tier makes a cache of it: signed records, objects
by content, limits, counts. ``tiered.py`` puts tiers behind a folder. ``docs/fleet.md`` tells what users see.
"""
