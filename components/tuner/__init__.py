"""Tuner: searches for hyperparameters with KerasTuner."""
