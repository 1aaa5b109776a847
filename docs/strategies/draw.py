"""Draws what each strategy does with the same requests: `python docs/strategies/draw.py` writes the pictures beside it.

The decisions are those of the pool, on simulated servers and a clock that jumps (`bench/simulation.py`): every run draws the same.
"""

from __future__ import annotations

import random
import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from bench.simulation import Ask, Done, Server, Simulation, arrivals  # noqa: E402 - after the path is set
from gleitzeit_nb.core.instances import InstanceSettings  # noqa: E402
from gleitzeit_nb.core.strategies import STRATEGIES  # noqa: E402

TEXT_MODEL, VISION_MODEL = "llama3.2:latest", "llava:latest"
COLOURS = {TEXT_MODEL: "#4c78a8", VISION_MODEL: "#e8a33d"}
LOADING = "#9a9a9a"
LEFT, WIDTH, LANE, GAP = 120, 860, 18, 12


def servers() -> list[Server]:
    """A fast one and a desk, which hold one model each, and an old one, four times slower."""
    rows = (
        ("gpu-1", {"weight": 3.0, "priority": 1, "specialization": "large-models"}, {}, TEXT_MODEL),
        ("desk", {"weight": 1.0, "priority": 2, "specialization": "vision"}, {"token_s": 0.03}, VISION_MODEL),
        ("old", {"weight": 1.0, "priority": 3}, {"first_s": 0.8, "token_s": 0.08}, TEXT_MODEL),
    )
    made = []
    for name, settings, pace, model in rows:
        fields = InstanceSettings(name, f"http://{name}:11434", max_concurrent=2, **settings)  # type: ignore[arg-type]
        made.append(Server(fields, loaded=[model], load_s=6.0, **pace))  # type: ignore[arg-type]
    return made


def requests() -> list[Ask]:
    """Sixty, of which a quarter bring a picture."""
    rng = random.Random(7)
    pictures = [rng.random() < 0.25 for _ in range(60)]
    times = [each.at for each in arrivals(rng, 1.4, 60)]
    return [Ask(at, VISION_MODEL if image else TEXT_MODEL, images=image) for at, image in zip(times, pictures, strict=True)]


def facts(done: list[Done], used: list[Server]) -> str:
    """What came of it, in one line."""
    mean_s = sum(each.elapsed_s for each in done) / len(done)
    shares = ", ".join(f"{server.settings.id} {sum(each.instance == server.settings.id for each in done)}" for server in used)
    return f"requests: {shares} · models loaded: {sum(server.loads for server in used)} · mean time {mean_s:.1f} s"


def picture(strategy: str) -> str:
    """One SVG: a lane for each slot, a bar for each request."""
    used = servers()
    done = Simulation(used, strategy).run(requests())
    end = max(each.ended_at for each in done)
    scale = (WIDTH - LEFT - 10) / end
    parts, y = [], 30
    for server in used:
        lanes = _lanes([each for each in done if each.instance == server.settings.id])
        parts.append(f'<text x="8" y="{y + LANE}">{escape(server.settings.id)}</text>')
        for lane in range(server.settings.max_concurrent or 1):
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - 10}" height="{LANE - 2}" fill="#f2f2f2"/>')
            parts += [_bar(each, y, scale) for each in lanes.get(lane, ())]
            y += LANE
        y += GAP
    legend = ((COLOURS[TEXT_MODEL], "llama3.2"), (COLOURS[VISION_MODEL], "llava (with a picture)"), (LOADING, "loading a model"))
    x = LEFT
    for colour, label in legend:
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/><text x="{x + 18}" y="{y + 11}">{label}</text>')
        x += 200
    y += 34
    parts.append(f'<text x="{LEFT}" y="{y}">{escape(facts(done, used))}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 14}" font-family="sans-serif" font-size="13">'
    title = f'<title>{strategy}</title><text x="{LEFT}" y="18" font-weight="bold">{strategy}: 60 requests in {end:.0f} s</text>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 14}" fill="white"/>', title, *parts, "</svg>", ""])


def _lanes(done: list[Done]) -> dict[int, list[Done]]:
    """Which slot each stood in, as far as one can tell: the first that was free."""
    free_at: dict[int, float] = {}
    lanes: dict[int, list[Done]] = {}
    for each in sorted(done, key=lambda one: one.began_at):
        lane = next((number for number in sorted(free_at) if free_at[number] <= each.began_at + 1e-9), len(free_at))
        free_at[lane] = each.ended_at
        lanes.setdefault(lane, []).append(each)
    return lanes


def _bar(each: Done, y: int, scale: float) -> str:
    def rect(begin: float, length: float, colour: str) -> str:
        return (
            f'<rect x="{LEFT + begin * scale:.1f}" y="{y}" width="{max(1.0, length * scale - 1):.1f}" height="{LANE - 2}" fill="{colour}"/>'
        )

    answer = rect(each.began_at + each.load_s, each.ended_at - each.began_at - each.load_s, COLOURS[each.ask.model])
    return (rect(each.began_at, each.load_s, LOADING) if each.load_s else "") + answer


def main() -> None:
    for strategy in STRATEGIES:
        (HERE / f"{strategy}.svg").write_text(picture(strategy), encoding="utf-8")


if __name__ == "__main__":
    main()
