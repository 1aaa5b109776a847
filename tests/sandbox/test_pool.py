"""Warm workers: who gets which, who waits, what is discarded and why. Real guests in plain processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from gleitzeit_nb.core.execution import MIB, ContainerPoolSettings, ExecutionRequest, ExecutionResult, Limits, ModeSettings
from gleitzeit_nb.core.places import State
from gleitzeit_nb.errors import EngineClosedError, SandboxBusyError, SandboxUnavailableError
from gleitzeit_nb.events import ContainerLost, ContainerMade, EventBus
from gleitzeit_nb.sandbox.pool import WorkerPool
from gleitzeit_nb.sandbox.worker import Lease
from tests.conftest import FakeClock
from tests.sandbox.subprocess_channel import SubprocessLauncher
from tests.support.waiting import until

MODE = ModeSettings("m", "docker", "Mode")
OTHER = ModeSettings("o", "docker", "Other")
LIMITS = Limits(timeout_s=20)
QUIET = ContainerPoolSettings(max_containers=2, min_warm=0)  # nothing happens but what a test does

MakePool = Callable[[ContainerPoolSettings], WorkerPool]


@pytest_asyncio.fixture
async def make_pool(launcher: SubprocessLauncher, clock: FakeClock) -> AsyncIterator[MakePool]:
    made: list[WorkerPool] = []

    def make(settings: ContainerPoolSettings = QUIET) -> WorkerPool:
        made.append(WorkerPool(lambda kind: launcher, settings, EventBus(), clock))
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


async def run(lease: Lease, code: str = "1", limits: Limits = LIMITS) -> ExecutionResult:
    return await lease.worker.connection.run(ExecutionRequest("id", code), limits)


def lost(pool: WorkerPool) -> list[str]:
    return [event.reason for event in pool._events.log if isinstance(event, ContainerLost)]


def made(pool: WorkerPool) -> int:
    return sum(isinstance(event, ContainerMade) for event in pool._events.log)


def idle(pool: WorkerPool) -> int:
    return sum(place.state is State.IDLE for place in pool._lending.places)


async def use(pool: WorkerPool, mode: ModeSettings = MODE, limits: Limits = LIMITS, **options: object) -> str:
    """One whole lease; the worker's name."""
    lease = await pool.lease(mode, limits, **options)  # type: ignore[arg-type]
    lease.end((await run(lease)).status)
    return lease.worker.connection.channel.name


# -- who gets which ------------------------------------------------------------------------------------------------------------


async def test_a_worker_is_used_again(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    assert await use(pool) == await use(pool)
    assert made(pool) == 1


async def test_a_warm_start_costs_no_start(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    await use(pool)
    lease = await pool.lease(MODE, LIMITS)
    assert lease.start_s == 0.0
    lease.end()


@pytest.mark.parametrize(
    ("mode", "limits", "image"),
    [
        (OTHER, LIMITS, None),
        (replace(MODE, environment={"A": "b"}), LIMITS, None),
        (MODE, replace(LIMITS, pids=10), None),
        (MODE, LIMITS, "other-image"),
    ],
)
async def test_a_worker_made_otherwise_is_another(make_pool: MakePool, mode: ModeSettings, limits: Limits, image: str | None) -> None:
    pool = make_pool(QUIET)
    assert await use(pool) != await use(pool, mode, limits, image=image)


async def test_limits_of_the_run_alone_need_no_other_worker(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    assert await use(pool) == await use(pool, limits=Limits(timeout_s=1, output_bytes=100, value_bytes=100))


async def test_a_fresh_request_gets_a_worker_that_never_ran_anything(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    warm = await use(pool)
    fresh = await use(pool, fresh=True)
    assert fresh != warm
    assert lost(pool) == ["used up"]
    assert await use(pool) == warm


async def test_used_workers_are_preferred_so_that_unused_ones_stay(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=3, min_warm=1))
    warm = await use(pool)
    await use(pool, fresh=True)
    await until(lambda: idle(pool) == 2)
    assert await use(pool) == warm
    lease = await pool.lease(MODE, LIMITS, fresh=True)
    assert lease.start_s == 0.0
    lease.end()


# -- the queue ----------------------------------------------------------------------------------------------------------------


async def test_who_finds_all_slots_taken_waits_in_order(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    first, second = [await pool.lease(MODE, LIMITS) for _ in range(2)]
    order: list[str] = []

    async def wait(tag: str) -> None:
        lease = await pool.lease(MODE, LIMITS, tag=tag)
        order.append(tag)
        lease.end()

    waiting = [asyncio.create_task(wait(tag)) for tag in "abc"]
    await until(lambda: pool.counts("m").queued == 3)
    assert [pool.state_of(tag) for tag in "abc"] == ["queued 1st", "queued 2nd", "queued 3rd"]
    assert (pool.counts("m").active, pool.counts("m").containers) == (2, 2)
    second.end()
    await asyncio.gather(*waiting)
    assert order == ["a", "b", "c"]
    first.end()
    assert made(pool) == 2


async def test_a_full_pool_gives_the_slot_of_an_idle_worker_to_another_mode(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    await use(pool)
    await use(pool, OTHER)
    assert lost(pool) == ["idle"]
    assert (pool.counts("m").containers, pool.counts("o").containers) == (0, 1)


async def test_who_leaves_the_queue_is_passed_over(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    lease = await pool.lease(MODE, LIMITS)
    gone, stays = [asyncio.create_task(pool.lease(MODE, LIMITS)) for _ in range(2)]
    await until(lambda: pool.counts("m").queued == 2)
    gone.cancel()
    lease.end()
    (await stays).end()
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_leaves_in_the_moment_of_his_turn_loses_no_slot(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    lease = await pool.lease(MODE, LIMITS)
    gone = asyncio.create_task(pool.lease(MODE, LIMITS))
    await until(lambda: pool.counts("m").queued == 1)
    lease.end()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await asyncio.wait_for(use(pool), 20)


async def test_a_worker_that_was_started_for_somebody_who_left_serves_the_next(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    gone = asyncio.create_task(pool.lease(MODE, LIMITS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    await use(pool)
    assert made(pool) == 1


async def test_a_crowd_of_one_caller_keeps_no_other_waiting(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    served: list[str] = []

    async def one(caller: str) -> None:
        lease = await pool.lease(MODE, LIMITS, caller=caller)
        served.append(caller)
        await asyncio.sleep(0)
        lease.end("ok")

    crowd = [asyncio.create_task(one("map")) for _ in range(1000)]
    await until(lambda: len(served) > 3)
    await one("cell")
    assert served.index("cell") < 100
    await asyncio.gather(*crowd)
    assert len(served) == 1001


async def test_a_queue_that_is_full_refuses_at_once_and_says_what_to_raise(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1, max_waiting=1))
    lease = await pool.lease(MODE, LIMITS)
    waiting = asyncio.create_task(pool.lease(MODE, LIMITS))
    await until(lambda: pool.counts("m").queued == 1)
    with pytest.raises(SandboxBusyError, match=r"1 runs wait.*\n.*container_pool\.max_waiting"):
        await pool.lease(MODE, LIMITS)
    assert pool.counts("m").queued == 1
    lease.end("ok")
    (await waiting).end()


async def test_who_waited_for_too_long_is_told_and_forgotten(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    lease = await pool.lease(MODE, LIMITS)
    pool.settings = replace(pool.settings, max_wait_s=0.1)  # not before: the first one's start may take longer
    with pytest.raises(SandboxBusyError, match=r"within 0\.1 s.*\n.*max_wait"):
        await pool.lease(MODE, LIMITS)
    assert pool.counts("m").queued == 0
    lease.end("ok")
    pool.settings = QUIET
    await use(pool)


# -- other sizes --------------------------------------------------------------------------------------------------------------


async def test_another_size_is_given_to_an_idle_worker_and_taken_back(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(QUIET)
    first = await use(pool)
    assert await use(pool, limits=replace(LIMITS, memory_bytes=64 * MIB, cpus=0.5)) == first
    channel = launcher.channels[0]
    await until(lambda: len(channel.sizes) == 2)
    assert channel.sizes == [(64 * MIB, 0.5), (512 * MIB, 1.0)]
    assert await use(pool) == first


async def test_a_worker_that_cannot_be_changed_is_replaced(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(QUIET)
    first = await use(pool)
    launcher.channels[0].rigid = True
    assert await use(pool, limits=replace(LIMITS, memory_bytes=64 * MIB)) != first
    assert lost(pool) == ["size"]
    assert launcher.made_with[-1].memory_bytes == 64 * MIB


async def test_a_size_is_keyed_apart_where_it_cannot_be_changed(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    mode = replace(MODE, kind="restricted")
    first = await use(pool, mode)
    assert await use(pool, mode, replace(LIMITS, memory_bytes=64 * MIB)) != first


# -- cold and warm ------------------------------------------------------------------------------------------------------------


async def test_a_cold_start_says_what_was_missing(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    reasons = []
    for image in (None, "other", None):
        lease = await pool.lease(MODE, LIMITS, image=image)
        reasons.append(lease.cold)
        lease.end("ok")
    assert reasons == ["the first in this mode", "another image", ""]


async def test_workers_are_made_ready_when_asked_for(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(replace(QUIET, min_warm=2))
    pool.keep_ready(MODE)
    await pool.settled()
    assert idle(pool) == 2
    lease = await pool.lease(MODE, LIMITS)
    assert (lease.start_s, lease.cold) == (0.0, "")
    lease.end("ok")


async def test_outcomes_and_discards_are_counted(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    for outcome in ("ok", "error", "ok", "timeout"):
        (await pool.lease(MODE, LIMITS)).end(outcome)  # type: ignore[arg-type]
    counts = pool.counts("m")
    assert (counts.outcomes, counts.discards) == ({"ok": 2, "error": 1, "timeout": 1}, {"timeout": 1})


# -- the ends of workers ------------------------------------------------------------------------------------------------------------


async def test_a_discarded_worker_is_killed_and_the_reason_kept(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(QUIET)
    lease = await pool.lease(MODE, LIMITS)
    lease.end("timeout")
    await until(lambda: launcher.channels[0].process.returncode is not None)
    assert lost(pool) == ["timeout"]
    assert pool.counts("m").containers == 0


async def test_a_lease_ends_once(make_pool: MakePool) -> None:
    lease = await make_pool(QUIET).lease(MODE, LIMITS)
    lease.end()
    with pytest.raises(AssertionError):
        lease.end()


@pytest.mark.parametrize("settings", [replace(QUIET, max_uses=1), replace(QUIET, reuse_containers=False)])
async def test_a_worker_that_was_used_enough_is_not_used_again(make_pool: MakePool, settings: ContainerPoolSettings) -> None:
    pool = make_pool(settings)
    assert await use(pool) != await use(pool)
    assert lost(pool) == ["used up", "used up"]


async def test_an_idle_worker_that_dies_is_noticed(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(QUIET)
    before = await use(pool)
    launcher.channels[0].process.kill()
    await until(lambda: lost(pool) == ["died"])
    assert pool.counts("m").containers == 0
    assert await use(pool) != before


async def test_idle_workers_are_discarded_after_their_time(make_pool: MakePool, clock: FakeClock) -> None:
    pool = make_pool(QUIET)
    await use(pool)
    await use(pool, OTHER)
    clock.advance(200)
    await use(pool)
    clock.advance(200)
    assert await pool.cleanup_idle() == 1
    assert (pool.counts("m").containers, pool.counts("o").containers) == (1, 0)
    assert await pool.cleanup_idle(0) == 1


# -- refilling ----------------------------------------------------------------------------------------------------------------


async def test_a_discarded_worker_is_replaced_in_the_background(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, min_warm=1))
    (await pool.lease(MODE, LIMITS)).end("oom")
    await until(lambda: idle(pool) == 1)
    lease = await pool.lease(MODE, LIMITS)
    assert lease.start_s == 0.0
    lease.end()


async def test_the_successor_is_ready_before_the_last_use(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, min_warm=1, max_uses=8))
    for _ in range(7):
        await use(pool)
    await until(lambda: idle(pool) == 2)
    await use(pool)
    lease = await pool.lease(MODE, LIMITS)
    assert lease.start_s == 0.0
    lease.end()
    assert made(pool) == 2


async def test_a_worker_that_will_come_back_needs_no_replacement(make_pool: MakePool) -> None:
    pool = make_pool(replace(QUIET, min_warm=1))
    for _ in range(3):
        await use(pool)
    assert made(pool) == 1


async def test_a_refill_that_fails_is_told_and_not_repeated(
    make_pool: MakePool, launcher: SubprocessLauncher, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(replace(QUIET, min_warm=1))
    lease = await pool.lease(MODE, LIMITS)
    launcher.failure = SandboxUnavailableError("the daemon was stopped")
    lease.end("oom")
    await until(lambda: not pool._tasks)
    assert caplog.text.count("the daemon was stopped") == 1


# -- failing and closing ------------------------------------------------------------------------------------------------------------


async def test_a_worker_that_cannot_be_made_is_its_requests_error_and_frees_the_slot(
    make_pool: MakePool, launcher: SubprocessLauncher
) -> None:
    pool = make_pool(replace(QUIET, max_containers=1))
    launcher.failure = SandboxUnavailableError("no daemon")
    for _ in range(2):
        with pytest.raises(SandboxUnavailableError, match="no daemon"):
            await pool.lease(MODE, LIMITS)
    launcher.failure = None
    await use(pool)


async def test_closing_kills_all_and_frees_all_who_wait(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(QUIET)
    await use(pool, OTHER)
    lease = await pool.lease(MODE, LIMITS)
    running = asyncio.create_task(run(lease, "import time; time.sleep(60)"))
    held = await pool.lease(OTHER, LIMITS)
    waiting = asyncio.create_task(pool.lease(MODE, LIMITS))
    await until(lambda: pool.counts("m").queued == 1)
    await pool.close()
    assert (await running).status == "lost"
    for each in (lease, held):
        each.end()
    with pytest.raises(EngineClosedError):
        await waiting
    with pytest.raises(EngineClosedError):
        await pool.lease(MODE, LIMITS)
    assert all(channel.process.returncode is not None for channel in launcher.channels)
    assert lost(pool) == ["closed", "closed"]


async def test_closing_while_a_worker_starts_leaves_none_behind(make_pool: MakePool, launcher: SubprocessLauncher) -> None:
    pool = make_pool(QUIET)
    starting = asyncio.create_task(pool.lease(MODE, LIMITS))
    await until(lambda: bool(launcher.channels))
    await pool.close()
    with pytest.raises(EngineClosedError):
        await starting
    await until(lambda: all(channel.process.returncode is not None for channel in launcher.channels))


async def test_many_at_once_all_run_and_never_more_than_the_slots(make_pool: MakePool) -> None:
    pool = make_pool(QUIET)
    most = 0

    async def one(number: int) -> str:
        nonlocal most
        lease = await pool.lease(MODE, LIMITS)
        most = max(most, pool.counts("m").active)
        result = await run(lease, f"print({number})")
        lease.end()
        return result.stdout

    assert await asyncio.gather(*(one(number) for number in range(30))) == [f"{number}\n" for number in range(30)]
    assert most <= 2
    assert made(pool) <= 2
