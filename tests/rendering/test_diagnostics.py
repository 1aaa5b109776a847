"""What is redacted of a report that is to be pasted somewhere, and what stays readable."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.config import Config
from gleitzeit_nb.doctor import Finding
from gleitzeit_nb.rendering.diagnostics import MOST_CHARS, Redaction, diagnostics_text
from tests.support.snapshots import HOSTILE, MOCK_UP, hostile, run, session

VERSIONS = {"gleitzeit-nb": "1.0", "python": "3.11.7"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:11434 refused", "http://127.0.0.1:11434 refused"),
        ("http://ann:pw@localhost:1/x?key=1", "http://localhost:1"),
        ("http://ann:p@ss@gpu.lab:11434/api/chat?k=v#f", "http://(host 1):11434"),
        ("https://[2001:db8::7]:443/v1", "https://(host 1):443"),
        ("http://[::1]:11434", "http://[::1]:11434"),
        ("a http://x.lab b http://y.lab c http://x.lab", "a http://(host 1) b http://(host 2) c http://(host 1)"),
        ("cannot reach gpu.lab: http://gpu.lab:1", "cannot reach (host 1): http://(host 1):1"),
        ("unix:///home/ann/docker.sock", "unix://…/docker.sock"),
        ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
        ("file /home/ann/work/gleitzeit.yaml line 3", "file …/gleitzeit.yaml line 3"),
        ("~/work/notes/x.py", "…/x.py"),
        ('"/srv/customers/acme/models"', '"…/models"'),
        ("1/2 requests, 3 tokens/s, application/json", "1/2 requests, 3 tokens/s, application/json"),
        ("https://", "https://…"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    assert Redaction().of(text) == expected


@given(st.text(st.characters(categories=("L", "N")), min_size=5), st.text(st.characters(categories=("L", "N", "P", "S")), min_size=5))
def test_nothing_before_an_at_sign_of_an_address_is_left(user: str, password: str) -> None:
    quoted = "".join(each for each in password if each not in "\"'<>,;)]}/?#\\")
    told = Redaction().of(f"see http://{user}:Q7{quoted}Q7@gpu.lab:11434/path for more")
    assert told == "see http://(host 1):11434 for more"


def test_a_report_tells_versions_findings_configuration_and_state() -> None:
    told = diagnostics_text(VERSIONS, Config(), [Finding("warn", "gpu-1", "http://gpu.lab:1 is slow\ndo this")], MOCK_UP)
    for part in ("gleitzeit-nb 1.0", "python 3.11.7", "warning  gpu-1  http://(host 1):1 is slow", '"load_balancing"', "Ollama instances"):
        assert part in told
    assert "llm gpu-1 14 s, 312 tokens" in told
    assert "idle docker-sandbox gleitzeit/sandbox:latest, 12 runs" in told


def test_before_anything_runs_that_is_what_it_says() -> None:
    assert "nothing runs yet" in diagnostics_text(VERSIONS, Config(), [], None)


def test_what_people_and_untrusted_code_wrote_is_left_out() -> None:
    private = replace(MOCK_UP, runs=(run(label="my prompt", state="print(secret)"),), sessions=(session("acme merger"),))
    told = diagnostics_text(VERSIONS, Config(), [], private)
    assert not any(each in told for each in ("my prompt", "print(secret)", "acme merger"))


def test_a_hostile_snapshot_makes_plain_text_of_bounded_size() -> None:
    shown = hostile()
    many = replace(shown, instances=tuple(replace(shown.instances[0], id=HOSTILE + str(number)) for number in range(500)))
    told = diagnostics_text(VERSIONS, Config(), [Finding("ok", HOSTILE, HOSTILE * 100)], many)
    assert len(told) <= MOST_CHARS
    assert "\x1b" not in told
    assert "\u202e" not in told
