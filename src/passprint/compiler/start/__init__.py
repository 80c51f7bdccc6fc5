"""The start without a trace: a manifest is checked, a program is loaded, and a miss says why."""
