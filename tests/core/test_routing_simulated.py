"""What strategies are worth, on servers that exist only in arithmetic; the decisions are the real ones."""

from __future__ import annotations

import random

import pytest

from bench.simulation import Ask, Server, Simulation, arrivals
from gleitzeit_nb.core.instances import InstanceSettings

M = "llama3.2:latest"


def server(id: str, *, slots: int = 1, warm: bool = True, **pace: float) -> Server:  # noqa: A002
    loaded = [M] if warm else []
    return Server(InstanceSettings(id, f"http://{id}:1", max_concurrent=slots), loaded=loaded, **pace)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["auto", "model_affinity"])
@pytest.mark.parametrize("order", ["mixed", "sorted", "at once"])
def test_three_models_settle_on_three_servers_that_hold_one_each(strategy: str, order: str) -> None:
    servers, rng = [server(name, warm=False) for name in "abc"], random.Random(2)
    asks = {
        "mixed": [Ask(each.at, f"m{rng.randrange(3)}:x") for each in arrivals(rng, 1.2, 300)],
        "sorted": [Ask(0.0, f"m{number // 100}:x") for number in range(300)],
        "at once": [Ask(0.0, f"m{number % 3}:x") for number in range(300)],
    }[order]
    done = Simulation(servers, strategy).run(asks)
    assert len(done) == 300
    assert sum(each.loads for each in servers) == 3


def test_least_loaded_loads_models_all_the_time_on_such_servers() -> None:
    servers, rng = [server(name, warm=False) for name in "abc"], random.Random(2)
    Simulation(servers, "least_loaded").run([Ask(each.at, f"m{rng.randrange(3)}:x") for each in arrivals(rng, 1.2, 300)])
    assert sum(each.loads for each in servers) > 50  # or the test above proves nothing


@pytest.mark.parametrize("slots", [1, 4])
def test_a_slow_server_gets_no_more_than_its_share(slots: int) -> None:
    servers = [server("a", slots=slots), server("b", slots=slots), server("slow", slots=slots, first_s=1.0, token_s=0.1)]
    done = Simulation(servers, "auto").run(arrivals(random.Random(5), 0.6 * 2.2 * slots / 1.2, 2000))
    share = sum(each.instance == "slow" for each in done) / len(done)
    assert 0 < share <= 1.1 * 0.2 / 2.2  # not shunned for ever either: what was slow once is tried again


def test_a_chat_goes_on_where_it_was_read() -> None:
    asks, rng = [], random.Random(3)
    for chat in range(9):
        at = rng.uniform(0, 5)
        for turn in range(12):
            asks.append(Ask(at, conversation=chat, prompt_tokens=200 + 150 * turn))
            at += rng.uniform(2, 8)
    done = Simulation([server(name, slots=4) for name in "abc"], "auto").run(asks)
    follow_ups = [each for each in done if each.ask.prompt_tokens > 200]
    reused = sum(each.ask.prompt_tokens for each in follow_ups if not each.reread)
    assert reused >= 0.95 * sum(each.ask.prompt_tokens for each in follow_ups)


def test_a_model_that_everybody_wants_is_loaded_on_idle_servers_too() -> None:
    servers = [server("a"), server("b", warm=False), server("c", warm=False)]
    done = Simulation(servers, "auto").run([Ask(0.0) for _ in range(60)])
    assert {each.instance for each in done} == {"a", "b", "c"}
    assert max(each.ended_at for each in done) < 60 * 1.2 / 2  # it would be 72 s on one alone


def test_a_single_request_waits_for_the_server_that_has_the_model() -> None:
    servers = [server("a"), server("b", warm=False)]
    done = Simulation(servers, "auto").run([Ask(0.0), Ask(0.1)])
    assert [each.instance for each in done] == ["a", "a"]
    assert servers[1].loads == 0


@pytest.mark.parametrize("strategy", ["auto", "least_loaded", "round_robin", "weighted", "latency_based", "model_affinity", "priority"])
def test_nothing_is_lost_and_the_first_come_first(strategy: str) -> None:
    servers = [server("a", slots=2), server("b", slots=2)]
    done = Simulation(servers, strategy).run([Ask(number * 0.01) for number in range(100)])
    assert len(done) == 100
    begun = sorted(done, key=lambda each: each.began_at)
    assert [each.ask.at for each in begun] == sorted(each.ask.at for each in done)
