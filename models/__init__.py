"""The T²Rec model: features, towers, tasks, training, baselines and exports.

TensorFlow Recommenders needs Keras 2, and TensorFlow chooses its Keras when it is first used, so
the choice is made here, in the package that all the others import first. So is how OpenMP's
threads wait, which it reads when it is first loaded: asleep. By default they spin, and where
another program has one of the cores, LightGBM takes ten times as long with all of them as with one.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
