"""What policies need to know about a user, asked for when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field

from .accounts import User, username


@dataclass(slots=True)
class Facts:
    """What audiences need to know about a Django user; queries are made when needed.

    Attributes:
        groups: The primary keys of the user's groups, if already known.
        permissions: Whether the user has each of these permissions, where already known.

    """

    user: User
    groups: frozenset[int] | None = None
    permissions: dict[str, bool] = field(default_factory=dict)

    @property
    def username(self) -> str:
        """The name, empty for anonymous visitors."""
        return "" if self.is_anonymous else username(self.user)

    @property
    def is_anonymous(self) -> bool:
        """Whether this is a visitor without an account."""
        return not getattr(self.user, "is_authenticated", False)

    @property
    def is_active(self) -> bool:
        """Whether the account is active."""
        return bool(getattr(self.user, "is_active", False))

    @property
    def is_staff(self) -> bool:
        """Whether the user may log in to the admin."""
        return bool(getattr(self.user, "is_staff", False))

    @property
    def is_superuser(self) -> bool:
        """Whether the user has all permissions."""
        return bool(getattr(self.user, "is_superuser", False))

    def group_ids(self) -> frozenset[int]:
        """Return the primary keys of the user's groups, asking once."""
        if self.groups is None:
            groups = getattr(self.user, "groups", None)
            if groups and "groups" in getattr(self.user, "_prefetched_objects_cache", ()):
                self.groups = frozenset(group.pk for group in groups.all())
            else:
                self.groups = (
                    frozenset(groups.values_list("pk", flat=True)) if groups else frozenset()
                )
        return self.groups

    def has_permission(self, permission: str) -> bool:
        """Return whether the user holds a permission, asking Django once."""
        if permission not in self.permissions:
            has_perm = getattr(self.user, "has_perm", None)
            self.permissions[permission] = bool(has_perm and has_perm(permission))
        return self.permissions[permission]
