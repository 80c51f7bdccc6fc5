"""From one traced graph to pieces that run: cut, described, keyed, found or compiled, stitched."""
