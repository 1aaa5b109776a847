"""What may stand in requirements, and what they are the same as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gleitzeit_nb.core.requirements import MOST_CHARS, Requirements

HASH = "a" * 64


def test_a_file_is_lines_without_comments_continuations_and_order() -> None:
    file = f"# a comment\nseaborn == 0.13.2  # why\n\nnumpy>=1.26,<3 ; python_version >= '3.9'\nrich[jupyter]~=13.0\n{'x' * 3}\n"
    found = Requirements.of(file)
    assert found.lines == ("numpy>=1.26,<3 ; python_version >= '3.9'", "rich[jupyter]~=13.0", "seaborn==0.13.2", "xxx")
    assert found == Requirements.of(reversed(found.lines))
    assert found.digest != Requirements.of("seaborn==0.13.3").digest
    assert not found.hashed


def test_hashes_stay_with_their_line_and_are_for_all_or_none() -> None:
    found = Requirements.of(f"a==1 \\\n  --hash=sha256:{HASH} \\\n  --hash=sha256:{'b' * 64}\nb==2 --hash sha256:{HASH}")
    assert found.hashed
    assert found.lines[0] == f"a==1 --hash=sha256:{HASH} --hash=sha256:{'b' * 64}"
    assert found.short == "a==1, b==2"
    with pytest.raises(ValueError, match=r"'b==2' has no hash"):
        Requirements.of(f"a==1 --hash=sha256:{HASH}\nb==2")


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "-e .",
        "--index-url https://evil.example",
        "a==1 --global-option=x",
        "a==1 --hash=md5:00",
        f"a==1 --hash=sha256:{HASH}0",
        "a @ https://evil.example/a.whl",
        "a ; python_version > '3' @ file:///x",
        "https://evil.example/a.whl",
        "./a.whl",
        "git+https://evil.example/a",
        "a b",
        "a==1 2",
        "ä==1",
        "a==1;--no-index",
        "$(reboot)",
        "a\x00b",
        "a==1\u2028-e .",
    ],
)
def test_options_addresses_paths_and_nonsense_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"is an option of pip|is no requirement"):
        Requirements.of(line)


def test_there_is_a_most_of_everything() -> None:
    with pytest.raises(ValueError, match="256 KiB"):
        Requirements.of("a" * (MOST_CHARS + 1))
    with pytest.raises(ValueError, match="at most 500"):
        Requirements.of(f"a{number}" for number in range(501))


@given(st.text(max_size=80))
def test_any_text_is_requirements_that_read_themselves_again_or_an_error(text: str) -> None:
    try:
        found = Requirements.of(text)
    except ValueError:
        return
    assert Requirements.of(found.text) == found
    assert all(not line.startswith("-") and "@" not in line and "\n" not in line for line in found.lines)


@given(st.from_regex(r"[a-z]{1,8}(==[0-9.]{1,8})?", fullmatch=True).map(str))
def test_names_and_versions_are_taken(line: str) -> None:
    assert Requirements.of(line).lines == (line,)
