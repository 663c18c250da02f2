"""What is seen of a worker's threads, and when they have less than they were given."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from impls.workload import Workload, initial_params
from samenet.rounds import watched_run
from samenet.threads import Activity, ThreadWatch, shortage
from tests.support.command_line import TRIES, Bench, records
from tests.support.data import make_split
from tests.support.kernel import write
from tests.support.workers import CASES, is_here, live_worker, marks_of, two_cpus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from impls.lanes import Case
    from samenet.workers import Worker

BOOK = Workload()
# Of a worker on a GPU no threads are watched.
SHARING = [case for case in CASES if case.implementation.shares_work and not case.device.is_gpu]
SHARING.sort(key=lambda case: len(marks_of(case)))
PAIRS = [
    pytest.param(SHARING[first : first + 2], marks=marks_of(SHARING[first])) for first in range(0, len(SHARING), 2)
]
CPUS = sorted(os.sched_getaffinity(0))[:2]
BOOK_SIZE = ("--workload", "hidden=500,batch_size=600", "--threads", "2")


@contextmanager
def ready(case: Case, folder: Path, workload: Workload = BOOK, **environment: Any) -> Iterator[Worker]:
    """Start a worker of ``case`` on two CPUs, with these variables besides its own, and build the network."""
    with live_worker(case, folder, CPUS, environment) as worker:
        worker.build(workload, make_split(1200), initial_params(workload))
        yield worker


def lacking(worker: Worker, workload: Workload = BOOK) -> str:
    """Return what a worker lacks of two CPUs."""
    worker.run(20)  # idle threads of OpenBLAS look for work for up to 60 ms
    seen = watched_run(worker, 20)
    assert seen
    return shortage(seen, worker.thread_pools(), CPUS, workload.step_flops)


@two_cpus
@pytest.mark.alone
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "+".join(case.id for case in pair))
def test_every_lane_uses_the_threads_that_it_is_given(pair: Sequence[Case], caches: Path) -> None:
    """In a network of the book's size each of them shares its work, as it claims to; two start at a time."""
    here = [case for case in pair if is_here(case)]
    with ThreadPoolExecutor() as pool, ExitStack() as stack:  # workers die with the threads that started them
        workers = list(pool.map(lambda case: stack.enter_context(ready(case, caches)), here))
        assert {worker.case.id: lacking(worker) for worker in workers} == {case.id: "" for case in here}
    if len(here) < len(pair):
        pytest.skip("an interpreter is missing")


@two_cpus
@pytest.mark.alone
@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"OMP_THREAD_LIMIT": "1"}, "1 of 2 threads worked"),
        ({"MKL_NUM_THREADS": "1"}, "1 of 2 threads worked; the pool of openmp has 1 where 2 were given"),
        (
            {"GOMP_CPU_AFFINITY": str(CPUS[0])},
            f"2 of 2 threads worked; its threads may run on CPU {CPUS[0]} only",
        ),
    ],
)
def test_a_variable_that_reaches_torch_is_seen_by_its_effect(
    variables: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    """Whatever a list of variables may lack, its threads show it."""
    torch = next(case for case in CASES if case.id == "torch-cpu")
    with ready(torch, tmp_path, **variables) as worker:
        assert lacking(worker).endswith(sentence)


@two_cpus
@pytest.mark.alone
def test_a_small_network_need_not_be_shared(tmp_path: Path) -> None:
    """Libraries compute it on one thread, and are right to."""
    torch = next(case for case in CASES if case.id == "torch-cpu")
    small = Workload(hidden=20, batch_size=100)
    with ready(torch, tmp_path, small, OMP_THREAD_LIMIT="1") as worker:
        assert lacking(worker, small) == ""


@two_cpus
@pytest.mark.alone
def test_a_lane_with_fewer_threads_than_it_claims_has_no_number(bench: Bench, tmp_path: Path) -> None:
    """Its test fails and says what was seen; a lane that does not claim to share its work keeps its number."""
    for _ in range(TRIES):  # a neighbour's wake-ups can look like a second thread's work
        for stale in tmp_path.rglob("*.json"):
            stale.unlink()
        result = bench("-k", "single or pinned or modest", "--benchmark-save=x", *BOOK_SIZE, plugins=True)
        assert result.returncode == 1, result.stdout
        seen = records(tmp_path)
        if seen["single-cpu"]["state"] == seen["pinned-cpu"]["state"]:
            break
    assert seen["single-cpu"]["state"] == seen["pinned-cpu"]["state"] == "undersubscribed"
    assert seen["single-cpu"]["reason"] == "1 of 2 threads worked; the pool of openblas has 1 where 2 were given"
    assert seen["pinned-cpu"]["reason"] == f"2 of 2 threads worked; its threads may run on CPU {CPUS[0]} only"
    assert seen["modest-cpu"]["state"] in {"valid", "contended"}
    (launch,) = seen["modest-cpu"]["launches"]
    assert launch["threads_working"] == 1
    assert launch["threads_cpus"] == CPUS
    assert launch["flushes_denormals"] is False


@pytest.mark.parametrize(
    ("working", "cpus", "sizes", "flops", "lacks"),
    [
        (2, (4, 5), {"openblas": 2}, 1e9, ""),
        (1, (4, 5), {"openblas": 2}, 1e9, "1 of 2 threads worked"),
        (1, (4, 5), {"openblas": 2}, 1e7, ""),
        (2, (4, 5), {"openblas": 1}, 1e9, ""),  # its threads are outside of the pool
        (1, (4, 5), {"openblas": 2, "openmp": 1}, 1e7, "the pool of openmp has 1"),
        (3, (5,), {}, 1e7, "may run on CPU 5 only"),
        (5, (4, 5), {"openblas": 2}, 1e9, ""),
    ],
)
def test_the_sentence_names_what_is_missing(
    working: int, cpus: tuple[int, ...], sizes: dict[str, int], flops: float, lacks: str
) -> None:
    """Two CPUs were given; how many threads worked counts in a large network only."""
    pools = [{"internal_api": name, "num_threads": size} for name, size in sizes.items()]
    sentence = shortage(Activity(working, cpus), pools, (4, 5), flops)
    assert lacks in sentence
    assert bool(lacks) == bool(sentence)


def test_of_many_threads_only_as_many_are_expected_as_the_step_is_worth() -> None:
    """On 64 CPUs the book's step is too small for all of them, and a library may use fewer; not just one, though."""
    given: Sequence[int] = range(64)
    pools = [{"internal_api": "openblas", "num_threads": 64}]
    assert shortage(Activity(8, tuple(given)), pools, given, BOOK.step_flops) == ""
    assert shortage(Activity(4, tuple(given)), pools, given, BOOK.step_flops) == "4 of 64 threads worked"


@pytest.mark.parametrize(
    ("working", "sizes", "lacks"),
    [
        (8, {"openblas": 16, "openmp": 8}, "the pool of openmp has 8 where 16 were given"),
        (8, {"openmp": 8, "openblas": 16}, "the pool of openmp has 8 where 16 were given"),
        (8, {"openmp": 8}, "the pool of openmp has 8 where 16 were given"),
        (10, {"openblas": 12, "openmp": 9}, "the pool of openblas has 12 where 16 were given"),
        (8, {"openblas": 12}, "the pool of openblas has 12 where 16 were given"),
        (8, {"openblas": 16, "openmp": 16}, ""),  # as many as its step is worth
        (8, {"openblas": 16, "openmp": 12}, ""),  # it may have nothing to do, or be all that its library can use
        (16, {"openblas": 16, "openmp": 8}, ""),
    ],
)
def test_a_pool_that_limits_the_threads_is_a_shortage_next_to_a_larger_one(
    working: int, sizes: dict[str, int], lacks: str
) -> None:
    """On 16 CPUs, half of which would be enough for the book's step."""
    pools = [{"internal_api": name, "num_threads": size} for name, size in sizes.items()]
    sentence = shortage(Activity(working, tuple(range(16))), pools, range(16), BOOK.step_flops)
    assert sentence == (f"{working} of 16 threads worked; {lacks}" if lacks else "")


def test_a_second_pool_of_the_same_library_does_not_hide_the_first() -> None:
    """As with numpy's OpenBLAS next to scipy's."""
    pools = [{"internal_api": "openblas", "num_threads": size} for size in (8, 16)]
    assert shortage(Activity(8, tuple(range(16))), pools, range(16), BOOK.step_flops)


ALL = frozenset(range(4))


@pytest.mark.parametrize(
    ("affinities", "lacks"),
    [
        ([ALL, {0}, {0}, {0}], "3 of them may run on CPU 0 only"),
        ([ALL, ALL, {1, 2}, {1}, {2}], "3 of them may run on CPUs 1, 2 only"),
        ([ALL, {0}, {1}, {2}, {3}], ""),
        ([ALL] * 9, ""),
        ([{0}, {1}, {2}, {3}], ""),
        ([ALL, {0, 1}, {0, 1}], ""),
    ],
)
def test_threads_that_share_too_few_cpus_are_a_shortage(affinities: Sequence[set[int]], lacks: str) -> None:
    """Whatever the others may use; four CPUs were given."""
    seen = Activity(len(affinities), tuple(ALL), tuple(map(frozenset, affinities)))
    sentence = shortage(seen, [], sorted(ALL), 1e7)
    assert sentence == (f"{len(affinities)} of 4 threads worked; {lacks}" if lacks else "")


def test_without_the_schedulers_statistics_ticks_are_counted(kernel: Path) -> None:
    """And without any statistic nothing is known, and nothing is held against a case."""
    assert ThreadWatch(7).stop(2, 1.0) is None
    assert shortage(None, [], CPUS, 1e9) == ""
    watched = ThreadWatch(7)
    own = os.getpid()
    ticks = os.sysconf("SC_CLK_TCK")
    write(kernel / f"proc/7/task/{own}/stat", f"{own} (a (name) R 1 1 1 1 1 1 1 1 1 1 {ticks} {ticks} 0 0 20")
    seen = watched.stop(2, 2.0)
    assert seen
    assert seen.working == 1
    assert watched.stop(2, 4.0) is None  # the others have ended


def test_a_thread_that_only_waited_for_a_cpu_did_no_work(kernel: Path) -> None:
    """Next to a busy neighbour a thread that reads a pipe waits as long as others work."""
    tasks = kernel / "proc/7/task"
    write(tasks / "1/schedstat", "0 0 1")
    watched = ThreadWatch(7)
    write(tasks / f"{os.getpid()}/schedstat", "1000000000 100000000 9")
    write(tasks / "1/schedstat", "1000000 500000000 9")
    seen = watched.stop(2, 1.0)
    assert seen
    assert seen.working == 1
