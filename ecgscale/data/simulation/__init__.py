"""Simulated 12-lead ECGs that differ in a long tail of ways: people, hospitals, and the corpora made of them."""
