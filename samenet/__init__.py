"""samenet as a library: measure cases and read saved runs, without pytest or pandas.

from samenet import Settings, measure

results = measure(["numpy-cpu", "torch-cpu"], Settings(launches=3))
print(results["torch-cpu"].seconds)
"""

from samenet.errors import SamenetError
from samenet.measurement import Measurement, measure
from samenet.protocols import Epochs, Iterations, Scaling, Settings
from samenet.results import CaseResult, Results
from samenet.saved import Run, read_run

__all__ = [
    "CaseResult",
    "Epochs",
    "Iterations",
    "Measurement",
    "Results",
    "Run",
    "SamenetError",
    "Scaling",
    "Settings",
    "measure",
    "read_run",
]
