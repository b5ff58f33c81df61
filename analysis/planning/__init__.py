"""Which runs to do next, and what a grid of runs would identify (experimental design)."""
