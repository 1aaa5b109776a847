"""What an instance can take, as far as is known; and names of models."""

from __future__ import annotations

import copy
import pickle
import random

import pytest

from gleitzeit_nb.core.access import Secret
from gleitzeit_nb.core.breaker import BreakerState
from gleitzeit_nb.core.faults import TRAITS, Cause
from gleitzeit_nb.core.health import Probe, after_probe, after_request
from gleitzeit_nb.core.instances import MODEL_BREAKERS, Instance, InstanceSettings, InstanceState
from gleitzeit_nb.core.leases import Outcome, reserve
from gleitzeit_nb.core.models import LoadedModel, canonical, display, nearest

RNG = random.Random(3)
M = "llama3.2:latest"


def instance(**settings: object) -> Instance:
    made = Instance(InstanceSettings("a", "http://a:1", **settings))  # type: ignore[arg-type]
    made.state = InstanceState.HEALTHY
    return made


def test_names_are_compared_with_the_tag_implied_and_without_case() -> None:
    assert canonical(" Llama3.2 ") == M
    assert canonical("registry:5000/Team/Phi") == "registry:5000/team/phi:latest"
    assert canonical("phi:3B") == "phi:3b"
    assert canonical("") == ""
    assert (display(M), display("phi:3b")) == ("llama3.2", "phi:3b")


def test_the_nearest_names_are_other_tags_first_then_near_spellings() -> None:
    known = ["llama3.2:1b", "llama3.2:70b", "mixtral:latest", "phi:3b"]
    assert nearest("llama3.2", known) == ("llama3.2:1b", "llama3.2:70b")
    assert nearest("mixtrall", known) == ("mixtral",)
    assert nearest("zzz", known) == ()


def test_slots_are_as_configured_else_one_per_loaded_model() -> None:
    assert instance(max_concurrent=3).slots == 3
    unlimited = instance()
    assert unlimited.slots == 1
    unlimited.loaded = {name: LoadedModel(name) for name in ("x:latest", "y:latest")}
    assert unlimited.slots == 2
    reserve(unlimited, "x:latest", 0.0)
    assert not unlimited.is_free_for("x:latest")
    assert unlimited.is_free_for("y:latest")


def test_what_was_declared_and_what_is_listed_must_agree() -> None:
    declared = instance(models=("Llama3.2", "phi:3b"))
    assert declared.has_model(M) is True
    declared.learn_models(["llama3.2:latest", "other:1b"])
    assert [declared.has_model(name) for name in (M, "phi:3b", "other:1b")] == [True, False, False]
    unknown = instance()
    assert unknown.has_model(M) is None
    unknown.learn_models(["llama3.2:latest"])
    unknown.forget_model(M)
    assert unknown.has_model(M) is False


def test_a_gpu_is_proved_by_memory_else_by_tag() -> None:
    tagged = instance(tags=("gpu",))
    assert tagged.has_gpu(M)
    tagged.loaded[M] = LoadedModel(M, gpu_share=0.0)
    assert not tagged.has_gpu(M)
    plain = instance()
    assert not plain.has_gpu(M)
    plain.loaded["other:latest"] = LoadedModel("other", gpu_share=0.4)
    assert plain.has_gpu(M)


def test_a_model_is_warm_as_long_as_its_last_sign_is_fresh() -> None:
    one = instance()
    one.loaded[M] = LoadedModel(M, seen_at=100.0)
    assert one.is_warm(M, 200.0)
    assert not one.is_warm(M, 400.0)


def test_a_lease_ends_once_and_books_what_happened() -> None:
    one = instance(max_concurrent=2)
    lease = reserve(one, M, 0.0)
    assert (lease.cold, one.load.loading) == (True, {M: 0.0})
    lease.first_token(1.0)
    assert one.load.loading == {}
    assert one.is_warm(M, 1.0)
    assert lease.end(Outcome.SUCCESS, 2.0, RNG)
    assert not lease.end(Outcome.DROPPED, 3.0, RNG, Cause.REFUSED)
    assert (one.load.in_flight, one.load.total, one.load.failed, one.load.latency_s) == (0, 1, 0, 2.0)
    assert one.breaker.state is BreakerState.CLOSED


def test_a_full_instance_gives_no_lease() -> None:
    one = instance(max_concurrent=1)
    reserve(one, M, 0.0)
    with pytest.raises(RuntimeError, match="no slot is free"):
        reserve(one, M, 0.0)


@pytest.mark.parametrize("cause", [Cause.BUSY, Cause.MODEL_MISSING, Cause.BAD_REQUEST, Cause.UNAUTHORISED, None])
def test_what_is_nobodys_fault_opens_no_breaker(cause: Cause | None) -> None:
    one = instance(max_concurrent=1)
    for _ in range(20):
        reserve(one, M, 0.0).end(Outcome.IGNORED, 0.0, RNG, cause)
    assert (one.breaker.state, one.load.failed, one.model_breakers) == (BreakerState.CLOSED, 0, {})


def test_a_models_failure_is_held_against_the_model_there() -> None:
    one = instance(max_concurrent=1)
    for _ in range(3):
        reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.SERVER_ERROR)
    assert one.breaker.state is BreakerState.CLOSED
    assert not one.admits(M, 0.0)
    assert one.admits("other:latest", 0.0)
    assert one.retry_at(M) is not None
    assert one.ejected_because(M) == "failed"


def test_breakers_of_models_are_bounded() -> None:
    one = instance(max_concurrent=1)
    for number in range(MODEL_BREAKERS + 10):
        reserve(one, f"m{number}:latest", 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.ERROR_LINE)
    assert len(one.model_breakers) == MODEL_BREAKERS


def test_states_follow_from_probes_and_requests() -> None:
    one = instance(max_concurrent=1)
    assert after_probe(one, Probe(0.01)) == (InstanceState.HEALTHY, "")
    assert after_probe(one, Probe(0.01, Cause.REFUSED))[0] is InstanceState.UNHEALTHY
    assert after_probe(one, Probe(9.0))[0] is InstanceState.DEGRADED
    assert after_probe(one, Probe(0.01, partly="lists are odd")) == (InstanceState.DEGRADED, "lists are odd")
    assert after_probe(one, Probe(3.0, Cause.FIRST_BYTE_TIMEOUT))[0] is InstanceState.DEGRADED
    assert after_probe(one, Probe(3.0, Cause.FIRST_BYTE_TIMEOUT))[0] is InstanceState.UNHEALTHY
    assert after_request(one, Cause.REFUSED)[0] is InstanceState.UNHEALTHY
    assert after_request(one, Cause.STALLED)[0] is InstanceState.DEGRADED
    assert after_request(one, Cause.BAD_REQUEST)[0] is InstanceState.HEALTHY
    assert after_request(one, None) == (InstanceState.HEALTHY, "")


def test_many_recent_failures_degrade_though_each_was_followed_by_successes() -> None:
    one = instance(max_concurrent=1)
    for _ in range(4):
        reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.TRUNCATED)
        for _ in range(2):
            reserve(one, M, 0.0).end(Outcome.SUCCESS, 0.0, RNG)
    assert one.breaker.state is BreakerState.CLOSED
    assert after_probe(one, Probe(0.01)) == (InstanceState.DEGRADED, "33% of the last 12 requests failed")


@pytest.mark.parametrize("cause", [cause for cause, traits in TRAITS.items() if not traits.away])
def test_a_good_probe_says_nothing_of_what_failed_at_its_work(cause: Cause) -> None:
    one = instance(max_concurrent=1)
    for _ in range(3):
        reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, cause)
    before = (one.breaker.state, one.admits(M, 0.0))
    assert one.breaker.reached(0.0) is None
    assert (one.breaker.state, one.admits(M, 0.0)) == before


def test_a_model_that_has_just_come_back_starts_slowly_and_others_do_not() -> None:
    one = instance(max_concurrent=8)
    for _ in range(3):
        reserve(one, M, 0.0).end(Outcome.DROPPED, 0.0, RNG, Cause.SERVER_ERROR)
    back = one.retry_at(M) or 0.0
    reserve(one, M, back).end(Outcome.SUCCESS, back, RNG)
    reserve(one, M, back)
    assert one.slow_start(M, back) == 1
    assert one.slow_start("other:latest", back) is None
    assert one.eases_at(M, back) == pytest.approx(back + 1.0)
    assert one.slow_start(M, back + 60) is None


def test_a_secret_shows_itself_nowhere() -> None:
    settings = InstanceSettings("a", "http://a:1", api_key=Secret("hidden-key"))
    shown = [repr(settings), str(settings.api_key), f"{settings.api_key:>20}", repr(Instance(settings)), repr([settings])]
    assert "hidden-key" not in "".join(shown)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(settings)
    with pytest.raises(TypeError):
        copy.deepcopy(settings)


def test_an_instance_says_its_state_in_one_line() -> None:
    one = instance(max_concurrent=2)
    reserve(one, M, 0.0)
    one.draining = True
    assert repr(one) == "<Instance a healthy, 1/2 in flight, breaker closed, draining>"
