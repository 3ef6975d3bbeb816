"""The baselines that the model must beat: one module a baseline or close family."""
