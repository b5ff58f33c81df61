"""The table of fitted exponents: built from all groups of runs, stored, and queried."""
