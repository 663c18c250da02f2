"""From cases and settings to campaigns that are ready to run: all that can be wrong is checked here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from impls.devices import NEEDS_PORT
from impls.lanes import Case, Device
from impls.registry import bounds, peaks
from impls.registry import cases as all_cases
from samenet import stats
from samenet.comparison import RevisionComparison, VersionComparison, is_reference
from samenet.context import Context, Data
from samenet.environments import ROOT, find_interpreter
from samenet.errors import NoInterpreterError, SettingsError
from samenet.events import Header
from samenet.git import present_commit
from samenet.journal import find
from samenet.machine import gpu
from samenet.machine.cpus import choose_cpus
from samenet.machine.description import describe
from samenet.machine.devices import is_absent, lacks_precision
from samenet.machine.temporary import temporary_folder
from samenet.package_environments import find_made, obtain
from samenet.plan import ENTRY_SECONDS, Entry, Role
from samenet.progress import say_nothing
from samenet.protocols import Epochs
from samenet.revision import check_out
from samenet.versions import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from samenet.comparison import PairedComparison
    from samenet.context import Machine
    from samenet.data import Dataset
    from samenet.plan import Plan
    from samenet.protocols import Settings
    from samenet.saved import Commit
    from samenet.versions import Versions

TWIN_OF = "numpy-cpu"  # the case that is entered twice, where it is selected


@dataclass(frozen=True, kw_only=True)
class Part:
    """One campaign that is ready to run; ``skipped`` says, by case, why it is not measured."""

    plan: Plan
    header: Header
    entries: Sequence[Entry]
    skipped: Mapping[Case, str]
    comparison: PairedComparison | None
    unfinished: Path | None

    @property
    def labels(self) -> set[str]:
        """The labels of all entries, and of the cases that are skipped."""
        return {entry.label for entry in self.entries} | {case.id for case in self.skipped}


def prepare(
    selected: Sequence[Case | str], settings: Settings, dataset: Dataset, say: Callable[[str], None] = say_nothing
) -> list[Part]:
    """Check all that can be wrong, and return the campaigns that ``settings`` ask for.

    Environments for versions are made here: ``say`` what that takes.

    Raises:
        SettingsError: a setting is wrong.
    """
    temporary_folder()
    if isinstance(selected, str):
        raise SettingsError(f"name the cases in a list, such as [{selected!r}]")
    chosen, versions = list(dict.fromkeys(find_case(case) for case in selected)), settings.asked_versions
    if versions:
        chosen = with_versions(chosen, versions, settings.python)
    cpus = choose_cpus(settings.threads)
    plans = settings.protocol.plans(settings, dataset, cpus)
    revision = check_out(settings.against, ROOT) if settings.against else None
    machine, commit = describe(cpus), present_commit(ROOT)  # before the campaign becomes the load that it records
    parts = []
    for plan in plans:
        skipped, entries = enter(chosen, plan, settings, say, versions)
        comparison: PairedComparison | None = None
        former = None
        if revision:
            comparison = RevisionComparison.of(revision, settings, entries, ROOT)
            former = revision.commit
        elif versions:
            comparison = compare_versions(versions, settings, entries, skipped)
            former = f"{versions}, {versions.reference}"
        header = head(plan, settings, machine, commit, chosen=chosen, former=former)
        parts.append(
            Part(
                plan=plan,
                header=header,
                entries=comparison.entries if comparison else [*entries, *companions(entries, plan, settings)],
                skipped=skipped,
                comparison=comparison,
                unfinished=find(settings.journal, header.key) if settings.journal else None,
            )
        )
    return parts


def find_case(case: Case | str) -> Case:
    """Return the case with an id, such as ``torch-cuda:1``.

    Raises:
        SettingsError: there is none.
    """
    if isinstance(case, Case):
        return case
    with contextlib.suppress(ValueError):
        name, _, text = case.rpartition("-")
        device = Device.parse(text)
        if device.kind in NEEDS_PORT:
            raise SettingsError(NEEDS_PORT[device.kind])
        known = {each.id: each for each in all_cases((device,))}
        if found := known.get(f"{name}-{device}"):
            return found
    raise SettingsError(f"there is no case {case}; choose from: {', '.join(each.id for each in all_cases())}")


def with_versions(chosen: Sequence[Case], versions: Versions, given: Mapping[str, Path]) -> list[Case]:
    """Return each case of ``chosen`` with each version, unless it has one.

    Raises:
        SettingsError: one does not run on the package, or its interpreter is ``given``.
    """
    for case in chosen:
        if names := {case.implementation.name, case.implementation.environment} & given.keys():
            name = min(names)
            raise SettingsError(f"--versions makes the interpreters of {name}; leave --python {name}=PATH out")
    return [each for case in chosen for each in ([case] if case.version else versions.expand([case]))]


def compare_versions(
    versions: Versions, settings: Settings, entries: Sequence[Entry], skipped: Mapping[Case, str]
) -> VersionComparison:
    """Return the comparison of the ``entries``.

    Raises:
        SettingsError: no lane has the reference and another version.
    """
    comparison = VersionComparison.of(versions, settings, entries)
    if not comparison.before:
        reasons = [f"{case.id}: {reason}" for case, reason in skipped.items()]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise SettingsError(f"there are no two versions to compare: {''.join(reasons[:1])}{more}")
    return comparison


def enter(
    chosen: Sequence[Case],
    plan: Plan,
    settings: Settings,
    say: Callable[[str], None] = say_nothing,
    versions: Versions | None = None,
) -> tuple[dict[Case, str], list[Entry]]:
    """Return why some cases are skipped, and the entries of the others.

    Of ``versions`` the reference comes first: where a lane has none, no environment is made for its other versions.
    """
    skipped, entries, compared = dict[Case, str](), list[Entry](), set[Case]()
    for case in sorted(chosen, key=lambda each: not is_reference(each, versions)):
        lane, installed = replace(case, version=None), dict[str, str]()
        reason = case.unsupported(plan.workload) or is_absent(case.device)
        reason = reason or lacks_precision(case.device, plan.workload.precision)
        if versions and lane not in compared and not is_reference(case, versions):
            reason = reason or f"there is no {versions.package} {versions.reference} to compare it with"
        try:
            if case.version and not reason:
                made = obtain(case, ROOT, say)
                python = made.python
                installed = made.about.packages | {PYTHON: made.about.python}
            elif not reason:
                python = interpreter_of(case, settings, say)
        except NoInterpreterError as error:
            reason = reason or str(error)
        if reason:
            skipped[case] = reason
        else:
            entries.append(Entry(label=case.id, case=case, python=python, root=ROOT, installed=installed))
            compared |= {lane} if is_reference(case, versions) else set()
    return skipped, sorted(entries, key=lambda entry: chosen.index(entry.case))


def interpreter_of(case: Case, settings: Settings, say: Callable[[str], None]) -> Path:
    """Return the interpreter for a case; without one it is that of an environment in the cache.

    Raises:
        NoInterpreterError: there is none, and none may or can be installed.
    """
    try:
        return find_interpreter(case.implementation, settings.python, ROOT, case.device)
    except NoInterpreterError as missing:
        try:
            made = obtain(case, ROOT, say) if settings.install else find_made(case, ROOT)
        except SettingsError as error:  # the other cases may have what they need
            raise NoInterpreterError(str(error)) from None
        if made is None:
            has_pins = (ROOT / "tox.ini").is_file()
            raise NoInterpreterError(f"{missing}, or add --install" if has_pins else str(missing)) from None
        return made.python


def companions(entries: Sequence[Entry], plan: Plan, settings: Settings) -> list[Entry]:
    """Return one of ``entries`` once more, for the noise floor, the bounds and the peak; a long training has none."""
    if not entries or plan.continues:
        return []
    once = next((entry for entry in entries if entry.label == TWIN_OF), entries[0])
    added = [replace(once, label=f"{once.label} again", role=Role.TWIN, of=once.label)]
    on_cpu = any(not entry.case.device.is_gpu for entry in entries)  # a GPU's bound is computed from its peak rates
    limits = [(Role.BOUND, each) for each in bounds()] + [(Role.PEAK, each) for each in peaks()]
    for role, implementation in limits if plan.workload.bounded and on_cpu else ():
        with contextlib.suppress(NoInterpreterError):
            limit = Case(implementation, Device("cpu"))
            python = interpreter_of(limit, settings, say_nothing)
            added.append(Entry(label=limit.id, case=limit, python=python, root=ROOT, role=role))
    return added


def head(
    plan: Plan, settings: Settings, machine: Machine, commit: Commit, *, chosen: Sequence[Case], former: str | None
) -> Header:
    """Return the first line of a campaign's journal."""
    dataset, workload = plan.dataset, plan.workload
    source = Path(dataset.source).name if Path(dataset.source).is_absolute() else dataset.source
    source = source.encode(errors="replace").decode()  # a folder's name may be no UTF-8
    context = Context(
        protocol=settings.protocol.name,
        iterations=plan.iterations,
        workload=workload,
        fingerprint=workload.fingerprint,
        step_flops=workload.step_flops,
        data=Data(name=dataset.name, source=source, sha256=dataset.sha256),
        threads=len(plan.cpus),
    )
    protocol = settings.protocol
    amount: list[object] = [plan.iterations, *([] if settings.compares else [plan.rounds, plan.launches])]
    amount += ["cold"] if plan.always_cold else []
    amount += [plan.entry_seconds] if plan.entry_seconds != ENTRY_SECONDS else []
    same = [context.protocol, amount, asdict(workload), plan.cpus, machine.fingerprint, former]
    key = hashlib.sha256(json.dumps([*same, source_digest(ROOT)], sort_keys=True).encode()).hexdigest()[:16]
    return Header(
        id=secrets.token_hex(8),
        key=key,
        when=datetime.now(UTC),
        context=context,
        machine=machine,
        commit=commit,
        seed=plan.seed,
        rounds=plan.rounds,
        launches=plan.launches,
        confidence=stats.CONFIDENCE if plan.launches and not former else stats.SEQUENTIAL_CONFIDENCE,
        least_seconds=least_seconds(plan, {case.device for case in chosen}) if workload.bounded else {},
        epochs=protocol.passes(workload) if isinstance(protocol, Epochs) else None,
        target_error_percent=protocol.target_error_percent if isinstance(protocol, Epochs) else None,
    )


def least_seconds(plan: Plan, devices: Collection[Device]) -> dict[str, float]:
    """Return the least time (s) of a round on each GPU of ``devices`` whose peak rates are known."""
    watched = [device for device in devices if device.has_nvml]
    present = [device for device in watched if not is_absent(device)]
    peaks = {str(device): gpu.peak(device.index, plan.workload.precision) for device in present}
    rows = len(plan.dataset.train.labels)
    return {name: peak.step_seconds(plan.workload, rows) * plan.iterations for name, peak in peaks.items() if peak}


def source_digest(root: Path) -> str:
    """Return a checksum of the engine and the implementations below ``root``: other code never continues a campaign."""
    digest = hashlib.sha256()
    folders = root / "impls", root / "samenet"
    for path in sorted(path for folder in folders for end in ("py", "cpp") for path in folder.rglob(f"*.{end}")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
