"""What is sent so that a loaded model is not loaded anew, and what is kept back for it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.models import LoadedModel
from gleitzeit_nb.core.runner_options import RUNNER_OPTIONS, Kept, Plan, after_answer, after_look, plan, warning

M = "llama3.2:latest"


def held(context: int | None = 4096, **runner: Any) -> LoadedModel:
    return LoadedModel(M, context_length=context, runner=tuple(sorted(runner.items())))


def sent(asked: dict[str, Any], loaded: LoadedModel | None, **how: Any) -> dict[str, Any]:
    return dict(plan(asked, loaded, **{"cold": False, **how}).options)


def test_what_is_loaded_is_repeated_though_nobody_asks_for_it() -> None:
    assert sent({"temperature": 0}, held(8192, num_thread=4)) == {"temperature": 0, "num_ctx": 8192, "num_thread": 4}
    assert sent({}, held(None)) == {}
    assert sent({"seed": 1}, None) == {"seed": 1}


def test_a_smaller_context_uses_the_loaded_one_without_a_word() -> None:
    made = plan({"num_ctx": 2048}, held(8192), cold=False)
    assert (dict(made.options), made.kept, made.reloads) == ({"num_ctx": 8192}, (), False)


def test_a_larger_context_is_kept_back_unless_it_is_forced() -> None:
    made = plan({"num_ctx": 16384}, held(8192), cold=False)
    assert (made.options["num_ctx"], made.kept) == (8192, (Kept("num_ctx", 16384, 8192),))
    forced = plan({"num_ctx": 16384}, held(8192), cold=False, force=True)
    assert (forced.options["num_ctx"], forced.kept, forced.reloads) == (16384, (), True)
    assert not plan({"num_ctx": 8192}, held(8192), cold=False, force=True).reloads


def test_other_runner_options_stay_as_they_were_loaded() -> None:
    made = plan({"num_thread": 8, "num_gpu": 20}, held(4096, num_thread=4), cold=False)
    assert dict(made.options) == {"num_ctx": 4096, "num_thread": 4}
    assert set(made.kept) == {Kept("num_thread", 8, 4), Kept("num_gpu", 20, None)}
    assert plan({"num_thread": 4}, held(4096, num_thread=4), cold=False).kept == ()
    stranger = LoadedModel(M, context_length=4096)  # loaded by somebody else: with what, nobody knows
    assert plan({"num_thread": 4}, stranger, cold=False).kept == (Kept("num_thread", 4, None),)


def test_a_load_that_is_due_anyway_takes_what_is_asked_and_else_what_was_there_before() -> None:
    assert sent({"num_ctx": 16384}, held(8192), cold=True)["num_ctx"] == 16384
    assert sent({}, held(8192), cold=True) == {"num_ctx": 8192}
    assert sent({}, None, cold=True, least_context=9000) == {"num_ctx": 9000}
    assert sent({"num_ctx": 12000}, None, cold=True, least_context=9000) == {"num_ctx": 12000}


def test_an_unknown_context_is_tried_and_nonsense_is_left_for_the_server_to_refuse() -> None:
    assert sent({"num_ctx": 9000}, held(None)) == {"num_ctx": 9000}
    made = plan({"num_ctx": "many"}, None, cold=False)
    assert (dict(made.options), made.kept) == ({"num_ctx": "many"}, ())
    assert plan({"num_predict": "many"}, held(), cold=False).options["num_predict"] == "many"


OPTIONS = st.dictionaries(st.sampled_from(sorted(RUNNER_OPTIONS)), st.integers(1, 4))


@given(OPTIONS, OPTIONS, st.integers(1, 4))
def test_unforced_nothing_is_ever_loaded_anew(asked: dict[str, int], loaded_with: dict[str, int], context: int) -> None:
    loaded_with.pop("num_ctx", None)
    loaded = held(context, **loaded_with)
    made = plan(asked, loaded, cold=False)
    assert {name: made.options.get(name) for name in RUNNER_OPTIONS} == {
        name: {**loaded_with, "num_ctx": context}.get(name) for name in RUNNER_OPTIONS
    }
    assert not made.reloads
    dropped = {name for name, value in asked.items() if name != "num_ctx" and made.options.get(name) != value}
    assert dropped == {each.name for each in made.kept if each.name != "num_ctx"}


@given(OPTIONS, OPTIONS)
def test_forced_everything_is_as_it_was_asked(asked: dict[str, int], loaded_with: dict[str, int]) -> None:
    context = loaded_with.pop("num_ctx", 2)
    made = plan(asked, held(context, **loaded_with), cold=False, force=True)
    assert asked.items() <= made.options.items()
    assert made.reloads == any({**loaded_with, "num_ctx": context}.get(name) != value for name, value in asked.items())


def test_an_answer_proves_what_the_model_was_loaded_with() -> None:
    made = plan({"num_ctx": 8192, "num_thread": 4, "seed": 1}, None, cold=True)
    loaded = after_answer(None, M, made, 5.0, fresh=True)
    assert (loaded.context_length, loaded.runner, loaded.seen_at) == (8192, (("num_thread", 4),), 5.0)
    again = after_answer(loaded, M, Plan({"num_ctx": 8192}), 6.0, fresh=False)
    assert (again.context_length, again.runner, again.seen_at) == (8192, (("num_thread", 4),), 6.0)


def test_a_look_at_what_is_loaded_keeps_what_it_cannot_show_unless_the_context_is_another() -> None:
    before = held(8192, num_thread=4)
    assert after_look(LoadedModel(M, 1.0, 8192, 9.0), before).runner == (("num_thread", 4),)
    assert after_look(LoadedModel(M, 1.0, 4096, 9.0), before).runner is None
    assert after_look(LoadedModel(M, 1.0, 4096, 9.0), None).runner is None


def test_the_warning_says_what_it_cost_and_what_to_do() -> None:
    text = warning(Kept("num_ctx", 8192, 4096), M, "gpu-1", 11.84)
    for part in ("num_ctx=8192", "llama3.2 is loaded on gpu-1 with 4096", "11.8 s", "--force-ctx", "min_context=8192"):
        assert part in text
    assert "(some" not in warning(Kept("num_thread", 8, None), M, "gpu-1", None)
