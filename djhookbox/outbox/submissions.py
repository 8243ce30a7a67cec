"""Publications of browsers to durable channels: decided and stored in one transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from ..bans.rules import Subject
from ..client.payloads import to_json
from ..decisions.decide import Decision, decide, decide_for_code, refused
from ..exceptions import HookboxRefused, PayloadError
from ..policy.rules import Operation
from ..users.accounts import User
from ..wire.names import BROWSER_KEY
from . import heads, inserting
from .models import Outbox, StreamEntry
from .numbering import digest
from .rows import Draft


@dataclass(frozen=True, slots=True)
class Submission:
    """A publication of a browser.

    Attributes:
        name: The name of its user.
        key: The key that the browser or the server has given to it.
        identity: The identifier of its session or token.

    """

    channel: str
    payload: object
    name: str
    key: str
    connection_id: str
    source: str
    identity: str = ""


def stored_key(name: str, key: str) -> str:
    """Return the key that is stored: users must not take keys of each other or of code."""
    mark = hashlib.sha256(f"{name}\n{key}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{BROWSER_KEY}{mark[:40]}"


def submit(submission: Submission, user: User) -> tuple[Decision, dict[str, object]]:
    """Decide about a publication and store it, in one transaction with what handlers write.

    Returns:
        The decision, and the fields of the reply that tell where it is stored, if it is.

    Raises:
        DatabaseError: It could not be stored.

    """
    using = heads.database()
    key = stored_key(submission.name, submission.key)
    earlier = _earlier(submission.channel, key, using)
    if earlier:  # sent again, because the first answer was lost
        return Decision(True), earlier
    with transaction.atomic(using=using):
        decision = decide(
            Operation.PUBLISH,
            user,
            submission.channel,
            payload=submission.payload,
            subject=Subject(submission.name, submission.identity),
        )
        if not decision.allowed or decision.options.get("only_to_sender"):
            return decision, {}
        opened = decide_for_code(submission.channel, user)
        if not opened.allowed or not opened.options.get("durable"):
            problem = _("This channel has just changed; try again.")
            return refused(problem, opened.decided_by, "unavailable"), {}
        payload = decision.options.get("override_payload", submission.payload)
        try:
            draft = Draft(
                decision,
                submission.channel,
                to_json(payload),
                user=submission.name,
                sender=submission.name,
                source=submission.source,
                key=key,
                connection_id=submission.connection_id,
                opened=opened,
            )
            # The process that asks pulls by itself.
            inserting.insert(draft, using=using, pokes=False)
        except (HookboxRefused, PayloadError) as error:
            transaction.set_rollback(True, using=using)
            return refused(str(error), decision.decided_by, error.code or "refused"), {}
    return decision, {"stored": key}


def _earlier(channel: str, key: str, using: str) -> dict[str, object]:
    """Return where a publication is stored already; nothing if it is not."""
    entries = StreamEntry.objects.using(using).filter(channel__digest=digest(channel), key=key)
    entry = entries.values_list("epoch", "offset").first()
    if entry is not None:
        return {"stored": key, "epoch": entry[0], "offset": entry[1]}
    if Outbox.objects.using(using).filter(key=key, channel=channel, failed=False).exists():
        return {"stored": key}
    return {}
