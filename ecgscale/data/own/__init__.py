"""Recordings of one's own: a table of labels and files of signals, or a reader in a Python file, become a dataset."""
