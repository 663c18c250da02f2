"""Implementations with one defect each, as another package would bring them: through entry points."""

from impls.registry import Implementation


def _faulty(defect: str) -> Implementation:
    return Implementation(defect, f"faulty_trainers:{defect.title()}", "numpy", (("numpy", "numpy"),))


CRASHING, HANGING, UNIMPORTABLE = _faulty("crashing"), _faulty("hanging"), _faulty("unimportable")
TALKATIVE, DIVERGING, FORGETFUL = _faulty("talkative"), _faulty("diverging"), _faulty("forgetful")
SLACKING, UNFINISHED = _faulty("slacking"), _faulty("unfinished")
ABSENT = Implementation("absent", "absent:Absent", "absent", (("a_package_that_is_not_there", "absent"),))
