"""Implementations with one defect each, as another package would add them: as entry points."""

from impls.lanes import Implementation


def _faulty(defect: str, *, shares_work: bool = True) -> Implementation:
    return Implementation(
        name=defect,
        trainer=f"faulty_trainers:{defect.title()}",
        environment="numpy",
        packages=(("numpy", "numpy"),),
        shares_work=shares_work,
    )


CRASHING, HANGING, UNIMPORTABLE = _faulty("crashing"), _faulty("hanging"), _faulty("unimportable")
TALKATIVE, DIVERGING, FORGETFUL = _faulty("talkative"), _faulty("diverging"), _faulty("forgetful")
SLACKING, UNFINISHED = _faulty("slacking"), _faulty("unfinished")
SINGLE, PINNED = _faulty("single"), _faulty("pinned")
MODEST = _faulty("modest", shares_work=False)
ABSENT = Implementation(
    name="absent",
    trainer="absent:Absent",
    environment="absent",
    packages=(("a_package_that_is_not_there", "absent"),),
)
