"""Who may do what: permissions, the roles that hold them, and the actor of a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gaitstream.console.refusals import ForbiddenError


class Permission(StrEnum):
    """What can be allowed; also the scopes of tokens."""

    EVENTS_READ = "events:read"
    CAMERAS_READ = "cameras:read"
    CAMERAS_WRITE = "cameras:write"
    HEALTH_READ = "health:read"
    EVIDENCE_EXPORT = "evidence:export"
    PEOPLE_READ = "people:read"
    PEOPLE_WRITE = "people:write"
    PEOPLE_FORGET = "people:forget"
    CONFIRMATIONS_WRITE = "confirmations:write"
    CLIPS = "clips"
    VISITORS_READ = "visitors:read"
    VISITORS_WRITE = "visitors:write"
    CALIBRATION_READ = "calibration:read"
    CALIBRATION_WRITE = "calibration:write"
    AUDIT_READ = "audit:read"
    ACCOUNTS_WRITE = "accounts:write"


class Role(StrEnum):
    """What a user is."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


_VIEWER = frozenset({Permission.EVENTS_READ, Permission.CAMERAS_READ, Permission.HEALTH_READ})
_OPERATOR = _VIEWER | {
    Permission.EVIDENCE_EXPORT,
    Permission.PEOPLE_READ,
    Permission.PEOPLE_WRITE,
    Permission.CONFIRMATIONS_WRITE,
    Permission.CLIPS,
    Permission.VISITORS_READ,
    Permission.VISITORS_WRITE,
    Permission.CALIBRATION_READ,
}
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMINISTRATOR: frozenset(Permission),
}


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What somebody may do and see; whoever has the same is shown the same.

    Attributes:
        permissions: that are held.
        cameras: ids of those that may be seen; None for all.
    """

    permissions: frozenset[Permission]
    cameras: frozenset[str] | None = None

    def may(self, permission: Permission) -> bool:
        """Whether a permission is held."""
        return permission in self.permissions

    def sees(self, camera: str) -> bool:
        """Whether a camera may be seen."""
        return self.cameras is None or camera in self.cameras


@dataclass(frozen=True, kw_only=True)
class Actor(Rights):
    """Who a request comes from, and what they may do and see.

    Attributes:
        name: of the user.
        role: of the user, which gives the permissions; a token may have fewer.
        token: name of the token; empty for a session of a browser.
    """

    name: str
    role: Role
    token: str = ""

    @property
    def rights(self) -> Rights:
        """What they may do and see, without who they are."""
        return Rights(permissions=self.permissions, cameras=self.cameras)

    def need(self, permission: Permission) -> None:
        """See that a permission is held.

        Raises:
            ForbiddenError: it is not; the message says who holds it.
        """
        if not self.may(permission):
            holders = [role.value for role, held in PERMISSIONS.items() if permission in held]
            token = f", and this token needs the scope {permission.value!r}" if self.token else ""
            raise ForbiddenError(
                f"{self.name} is {self.role.value}; this takes the role {' or '.join(holders)}{token}"
            )

    @property
    def voice(self) -> str:
        """Whose word it is where two people are asked: the user's, by whatever token."""
        return f"console:{self.name}"

    @property
    def audit_name(self) -> str:
        """How the audit log calls the actor."""
        return self.voice + (f" ({self.token})" if self.token else "")
