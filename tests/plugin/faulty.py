"""Implementations with one defect each, as another package would add them: as entry points."""

from impls.lanes import Implementation


def _faulty(defect: str) -> Implementation:
    return Implementation(
        name=defect,
        trainer=f"faulty_trainers:{defect.title()}",
        environment="numpy",
        packages=(("numpy", "numpy"),),
    )


CRASHING, HANGING, UNIMPORTABLE = _faulty("crashing"), _faulty("hanging"), _faulty("unimportable")
TALKATIVE, DIVERGING, FORGETFUL = _faulty("talkative"), _faulty("diverging"), _faulty("forgetful")
SLACKING, UNFINISHED = _faulty("slacking"), _faulty("unfinished")
ABSENT = Implementation(
    name="absent",
    trainer="absent:Absent",
    environment="absent",
    packages=(("a_package_that_is_not_there", "absent"),),
)
