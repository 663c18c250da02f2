"""From what was observed to a result: each state, and what a valid case has earned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samenet.acceptance import accept, accept_all
from samenet.events import Entered, Joined, Learned, Log, Lost, Observations, Timed, Withdrawn
from samenet.plan import Role
from samenet.records import Disturbance, Launch, State
from tests.support.campaigns import header, observed, plan, timed

HEADER = header(plan())
NOISE = Disturbance(State.CONTENDED, "other processes held its CPUs")
HEAT = Disturbance(State.THROTTLED, "throttled by heat")


def test_a_valid_case_has_its_estimates() -> None:
    """What is typical of its clean blocks, with an interval from five on, and the rate that follows from it."""
    blocks = [timed(seconds, turn=turn) for turn, seconds in enumerate((2.0, 2.2, 2.1, 2.1 * 2.1 / 2.2, 2.1 * 2.1 / 2))]
    result = accept(observed(*blocks), HEADER)
    assert result.state is State.VALID
    assert result.reason == ""
    assert result.timed.value == pytest.approx(2.1)
    assert result.timed.low < 2.1 < result.timed.high
    assert result.gflop_per_second == pytest.approx(HEADER.context.step_flops * 50 / 2.1 / 1e9)
    assert result.peak_bytes == 2**20


def test_the_first_reason_to_lose_a_number_stays() -> None:
    """A crash after a wrong result is a wrong result."""
    seen = observed(timed(2.0))
    for state, reason in ((State.UNVERIFIED, "first"), (State.FAILED, "second")):
        seen = seen.after(Lost(label="numpy-cpu", state=state, reason=reason))
    result = accept(seen, HEADER)
    assert (result.state, result.reason) == (State.UNVERIFIED, "first")
    assert result.seconds is None
    assert len(result.rounds) == 1  # what was measured stays in the record


@pytest.mark.parametrize(("disturbance", "state"), [(NOISE, State.CONTENDED), (HEAT, State.THROTTLED)])
def test_a_case_whose_turns_stay_disturbed_has_the_state_of_the_cause(disturbance: Disturbance, state: State) -> None:
    """Two of three turns have to be clean; the reason quotes the last disturbance."""
    disturbed = [timed(2.0, turn=0)]
    disturbed += [timed(3.0, turn=turn, attempt=each, disturbance=disturbance) for turn in (1, 2) for each in range(3)]
    result = accept(observed(*disturbed), HEADER)
    assert result.state is state
    assert result.reason == f"2 of 3 turns were disturbed; most recently, {disturbance.detail}"
    repeated = [*disturbed, timed(2.0, turn=2, attempt=3)]
    assert accept(observed(*repeated), HEADER).state is State.VALID


def test_blocks_too_short_to_show_a_small_neighbour_show_it_together() -> None:
    """A neighbour with a tenth of the CPU is within the error of the kernel's ticks in 63 ms, and beyond it in 1 s."""
    tick = 0.01

    def seen(*noisy: int) -> Observations:
        def block(turn: int) -> Timed:
            busy = turn // 16 in noisy
            errors = tick * (-1) ** turn  # what the ticks count too much or too little
            others, waiting = (1 / 160 + errors, 1 / 200) if busy else (errors, 0.0001)
            return timed(1 / 16, turn=turn, waiting_seconds=waiting, others_seconds=others)

        return observed(*map(block, range(64)))

    second = accept(seen(1), HEADER)
    assert second.state is State.VALID
    assert {each.turn for each in second.rounds if each.disturbance} == set(range(16, 32))
    result = accept(seen(0, 2), HEADER)
    detail = "other processes held its CPUs for 8 % of the time"
    assert (result.state, result.reason) == (State.CONTENDED, f"32 of 64 turns were disturbed; most recently, {detail}")
    assert not any(each.disturbance for each in accept(seen(), HEADER).rounds)
    shares = [(0.03, NOISE), (0.03, NOISE), (0.03, NOISE), (0.01, None)] * 4
    busiest = [
        timed(1 / 16, turn=turn, waiting_seconds=0.03, others_seconds=others, disturbance=disturbance)
        for turn, (others, disturbance) in enumerate(shares)
    ]
    assert all(each.disturbance for each in accept(observed(*busiest), HEADER).rounds)


def test_a_case_that_uses_more_than_its_cpus_is_oversubscribed() -> None:
    """1.3 CPU seconds a second where one CPU was given."""
    result = accept(observed(timed(2.0, cpu_seconds=2.6)), HEADER)
    assert result.state is State.OVERSUBSCRIBED
    assert "1.30 CPUs but was given 1" in result.reason


def test_a_case_faster_than_its_own_matrix_products_is_unverified() -> None:
    """The bound takes 2 s a round: 1.9 s are noise, 1 s is impossible; another device's bound says nothing."""
    bound = accept(observed(*(timed(2.0, turn=turn) for turn in range(5)), role=Role.BOUND, learned=False), HEADER)
    assert bound.state is State.VALID

    def result(seconds: float, device: str = "cpu") -> State:
        seen = observed(*(timed(seconds, turn=turn) for turn in range(5)))
        return accept(replace(seen, entry=replace(seen.entry, device=device)), HEADER, bound).state

    assert result(1.95) is State.VALID
    assert result(1.0) is State.UNVERIFIED
    assert result(1.0, "cuda") is State.VALID


def test_on_a_gpu_the_hardware_is_the_bound() -> None:
    """The least time of a round takes the place of the matrix products."""
    on_gpu = replace(HEADER, least_seconds={"cuda": 1.0})

    def seen(seconds: float) -> Observations:
        one = observed(*(timed(seconds, turn=turn) for turn in range(5)))
        return replace(one, entry=replace(one.entry, device="cuda"))

    result = accept(seen(2.0), on_gpu)
    assert result.efficiency
    assert result.efficiency.value == 0.5
    assert "(200 %)" in accept(seen(0.5), on_gpu).reason


def test_what_was_not_measured_to_its_end_is_skipped() -> None:
    """A case without a block has no number; one whose error is not known yet has."""
    assert accept(observed(learned=False), HEADER).reason == "interrupted before its first block"
    assert accept(observed(timed(2.0), learned=False), HEADER).state is State.VALID


def test_a_disturbed_block_of_a_training_counts_as_long_as_the_mean_of_the_others() -> None:
    """Two blocks of 1,000 and one of 500 updates; the second stayed disturbed and took ten times as long."""
    blocks = [
        timed(2.0, turn=0, steps=1000, error_percent=50.0),
        timed(30.0, turn=1, steps=1000, error_percent=20.0, disturbance=NOISE),
        timed(1.5, turn=2, steps=500, error_percent=10.0),
    ]
    context = replace(HEADER.context, iterations=2500)
    training = replace(HEADER, context=context, epochs=25, target_error_percent=25.0)
    result = accept(observed(*blocks), training)
    pace = 3.5 / 1500
    assert [(point.updates, point.seconds, point.error_percent) for point in result.curve] == [
        (1000, 2.0, 50.0),
        (2000, pytest.approx(2 + 1000 * pace), 20.0),
        (2500, pytest.approx(3.5 + 1000 * pace), 10.0),
    ]
    assert result.timed.value == result.curve[-1].seconds
    assert result.training
    assert result.training.target_seconds == result.curve[1].seconds
    cut = accept(observed(*blocks[:2], learned=False), training)
    assert (cut.state, cut.reason) == (State.SKIPPED, "interrupted after 2,000 of 2,500 updates")


def test_what_is_withdrawn_is_not_in_the_results() -> None:
    """A bound that another one beats, or rounds of another version, leave no trace."""
    log = Log()
    for label in ("a", "b"):
        log.add(Entered(label=label, implementation="numpy", device="cpu", role=Role.BOUND))
        log.add(Joined(label=label, launch=Launch(launch=0), versions={}))
        log.add(replace(timed(2.0), label=label))
    log.add(Withdrawn(label="b"))
    log.add(replace(timed(2.0, turn=1), label="b"))  # an event of what is gone
    log.add(Entered(label="c", implementation="numpy", device="cpu"))
    log.add(replace(timed(4.0), label="c"))
    log.add(Learned(label="c", error_rates={"validation": 1.0}))
    results = accept_all(log, HEADER)
    assert set(results) == {"a", "c"}
    assert results["c"].efficiency
    assert results["c"].efficiency.value == 0.5
    assert isinstance(log.entries["a"].timed[0], Timed)
