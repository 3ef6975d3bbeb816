"""Imports a hand-written schema into the pipeline."""
