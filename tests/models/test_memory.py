import subprocess
import sys

_PROGRAM = """
import gc
import numpy as np
from models import memory

def held_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096e-6

gc.disable()
memory.keep()
before = held_mb()
# Lists that hold themselves, and blocks of which the last one, still in use, lies on top.
for _ in range(100):
    cycle = [np.ones(100_000)]
    cycle.append(cycle)
blocks = [bytearray(60_000) for _ in range(2_000)]
last = blocks[-1]
del cycle, blocks
left = held_mb() - before
memory.release()
print(left, held_mb() - before)
"""


def test_what_a_component_leaves_is_given_back():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    left, after = map(float, done.stdout.split())
    assert left > 150
    assert after < 20
