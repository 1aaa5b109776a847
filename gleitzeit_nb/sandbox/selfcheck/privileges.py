"""An ordinary user that can become nothing else."""

from __future__ import annotations

from gleitzeit_nb.sandbox.selfcheck.check import HELD, Area, Where

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

AREA.snippet(
    "the_bounding_set_is_empty",
    "No program could gain a capability, whatever is written on it.",
    tried="CapBnd in /proc/self/status",
    code="seen = int(status()['CapBnd'], 16)",
    expected=0,
    weakening="capabilities kept",
    proves="no-privileges",
)

AREA.snippet(
    "no_capability_is_effective",
    "None of the administrator's 41 rights is held.",
    tried="CapEff and CapPrm in /proc/self/status",
    code="seen = [int(status()[name], 16) for name in ('CapEff', 'CapPrm')]",
    expected=[0, 0],
    weakening="root with capabilities",
    proves="no-privileges",
    forms=HELD,
)

AREA.snippet(
    "there_are_no_other_groups",
    "The code belongs to no group but its user's own.",
    tried="getgroups()",
    code="seen = [group for group in os.getgroups() if group != os.getgid()]",
    expected=[],
    weakening="another group",
    proves="no-privileges",
)

AREA.snippet(
    "owners_cannot_be_changed",
    "A file cannot be given to root.",
    tried="chown of an own file to root",
    code="""
open("given", "w").close()
seen = attempt(os.chown, "given", 0, 0)[0] if os.getuid() else "done"
os.unlink("given")
""",
    expected="refused",
    weakening="root with capabilities",
    proves="no-privileges",
)

AREA.snippet(
    "permissions_of_files_hold",
    "A file without any permission cannot be read, not even the own one: nothing goes past permissions.",
    tried="open an own file of mode 000",
    code="""
with open("own", "w"): os.chmod("own", 0)
seen = attempt(open, "own")
os.unlink("own")
""",
    expected=["refused", "EACCES"],
    weakening="root with capabilities",
    proves="no-privileges",
    forms=HELD,
)

AREA.snippet(
    "no_process_can_be_preferred",
    "The code cannot put itself before the machine's other programs.",
    tried="nice(-5)",
    code="seen = attempt(os.nice, -5)",
    expected=["refused", "EPERM"],
    weakening="administrator",
    proves="no-privileges",
    forms=HELD,
)

AREA.snippet(
    "limits_cannot_be_raised",
    "A limit that was set cannot be raised from inside.",
    tried="setrlimit of NOFILE to one more than it is",
    code="""
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
seen = [attempt(resource.setrlimit, resource.RLIMIT_NOFILE, (soft + 1, most))[0] for most in (hard, hard + 1)]
""",
    expected=["refused"] * 2,
    weakening="soft limits",
    proves="limits",
    forms=HELD,
)
