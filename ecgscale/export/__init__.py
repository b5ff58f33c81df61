"""Trained models for use elsewhere: a folder of weights with a model card, and what it says of recordings."""
