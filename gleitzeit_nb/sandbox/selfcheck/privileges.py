"""An ordinary user that can become nothing else."""

from __future__ import annotations

from gleitzeit_nb.sandbox.selfcheck.check import Area, Where

AREA = Area("privileges")

AREA.snippet(
    "the_user_is_not_root",
    "Code runs as an ordinary user.",
    tried="getresuid and getresgid",
    code="seen = min(os.getresuid() + os.getresgid())",
    expected=Where("greater than 0", lambda seen, _: seen > 0),
    weakening="root with capabilities",
    proves="no-privileges",
)

AREA.snippet(
    "there_are_no_capabilities",
    "No capability is held, and none can be gained: the bounding set is empty.",
    tried="all five sets in /proc/self/status",
    code="seen = [int(status()[name], 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')]",
    expected=[0] * 5,
    weakening="capabilities kept",
    proves="no-privileges",
)

AREA.snippet(
    "setuid_programs_gain_nothing",
    "no_new_privs is set.",
    tried="NoNewPrivs in /proc/self/status",
    code="seen = status()['NoNewPrivs']",
    expected="1",
    weakening="new privileges",
    proves="no-privileges",
)
