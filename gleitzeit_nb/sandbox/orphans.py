"""What sandboxes left on a daemon: found by its labels, and removed when its owner has provably ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gleitzeit_nb.sandbox import ownership, podman
from gleitzeit_nb.sandbox.ownership import Owner, Verdict

if TYPE_CHECKING:
    from docker import APIClient

GONE = (404, 409)  # not there, or its removal is in progress


@dataclass(frozen=True)
class LabelledContainer:
    """A container with our labels. `verdict`: does its owner live? "unknown" when that cannot be seen from this process."""

    id: str
    name: str
    image: str
    state: str
    created_at: float
    pid: str
    version: str
    verdict: Verdict


def labelled(api: APIClient, here: Owner) -> list[LabelledContainer]:
    """All of them, whoever made them; oldest first."""
    found = api.containers(all=True, filters={"label": ownership.OWNER})
    return sorted((_of(each, here) for each in found), key=lambda container: container.created_at)


def sweep(api: APIClient, here: Owner) -> list[LabelledContainer]:
    """Remove the orphans, and the volumes that orphans left; what was removed."""
    orphans = [container for container in labelled(api, here) if container.verdict == "orphan"]
    for container in orphans:
        remove(api, container.id)
    left = api.volumes(filters={"label": ownership.OWNER}).get("Volumes") or ()  # Podman takes no named volume along with its container
    podman.remove_volumes(api, [each["Name"] for each in left if ownership.verdict(each.get("Labels") or {}, here) == "orphan"])
    return orphans


def remove(api: APIClient, container: str) -> None:
    """By force. One that is gone, or just going, is no error."""
    from docker.errors import APIError

    try:
        api.remove_container(container, force=True, v=True)
    except APIError as exc:
        status = exc.response.status_code if exc.response is not None else 500
        if status not in GONE and not podman.ended_meanwhile(api, container):
            raise


def _of(listed: Mapping[str, object], here: Owner) -> LabelledContainer:
    labels = listed.get("Labels")
    labels = labels if isinstance(labels, dict) else {}
    names = listed.get("Names")
    return LabelledContainer(
        id=str(listed["Id"])[:12],
        name=str(names[0]).lstrip("/") if isinstance(names, list) and names else "",
        image=str(listed.get("Image", "")),
        state=str(listed.get("State", "")),
        created_at=float(str(listed.get("Created", 0))),
        pid=str(labels.get(ownership.PID, "")),
        version=str(labels.get(ownership.VERSION, "")),
        verdict=ownership.verdict(labels, here),
    )
