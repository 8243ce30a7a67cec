"""The pages of the admin that are measured with many rows: logs, refusals and policies."""

from __future__ import annotations

#: The requests of each page: a label for the table, and the query. `{middle}` is the place of a row
#: in the middle; the days are within the past ten.
COMMON = {
    "list": "",
    "older than these": "?older={middle}",
    "newer than these": "?newer={middle}",
    "filter: a frequent user": "?user_name=alice",
    "filter: a rare user": "?user_name=user77",
    "filter: a connection": "?connection_id=c00000012",
    "filter: since yesterday": "?from={yesterday}",
    "filter: past 5 days": "?from={old}",
    "filter: until 5 days ago": "?until={old}",
    "filter: one old day": "?from={old}&until={old}",
    "filter: a user on an old day": "?user_name=alice&from={old}&until={old}",
    "search on an old day": "?q=alice&from={old}&until={old}",
    "first byte of CSV": "export/?from={old}&until={old}",
    "first rows of CSV": "export/?until={old}",
    "search: a frequent user": "?q=alice",
    "search: a connection": "?q=c00000012",
    "search: nobody": "?q=nobody",
    "everything of a user": "trail/?user=alice",
    "everything of a connection": "trail/?connection=c00000012",
}
CHANNELS = {
    "filter: a frequent channel": "?channel=/news/today/",
    "filter: a rare channel": "?channel=/rooms/77/",
    "search: a frequent channel": "?q=/news/today/",
    "search: a rare channel": "?q=/rooms/77/",
    "search: how many channels begin": "?q=/rooms/*",
    "search: how few channels begin": "?q=/rooms/77/*",
    "search: how no channel begins": "?q=/nowhere/*",
    "everything of a channel": "trail/?channel=/news/today/",
}
PAGES = {
    "connectionlog": {
        **COMMON,
        "filter: a frequent event": "?event__exact=connect",
        "filter: a rare event": "?event__exact=refused",
        "filter: a rare transport": "?transport__exact=csp",
        "filter: a transport that is missing": "?transport__exact=",
        "filter: an address": "?ip=10.0.0.7",
        "filter: a rare event of a user": "?event__exact=refused&user_name=alice",
    },
    "subscriptionlog": {
        **COMMON,
        **CHANNELS,
        "filter: a frequent event": "?event__exact=subscribe",
        "filter: a rare event": "?event__exact=refused",
        "filter: an event that never concerns a user": (
            "?event__exact=create_refused&user_name=alice"
        ),
        "filter: an event that is missing": "?event__exact=destroy",
    },
    "publication": {
        **COMMON,
        **CHANNELS,
        "filter: a frequent status": "?status__exact=sent",
        "filter: a rare status": "?status__exact=failed",
        "filter: a rare source": "?source__exact=admin",
        "filter: a source that is missing": "?source__exact=poll",
    },
    "refusals": {
        "all": "",
        "until 5 days ago": "?until={old}",
        "one old day": "?from={old}&until={old}",
        "of a frequent user": "?q=alice",
        "of a rare user": "?q=user77",
        "one reason": "?by=policy:Rooms&reason=Only+staff.",
        "a rare reason": "?by=policy:Rooms&reason=Locked.",
        "a rare reason of a kind": "?kind=create&by=policy:Rooms&reason=Locked.",
        "a rare reason until 5 days ago": "?by=policy:Rooms&reason=Locked.&until={old}",
        "a rare reason, any decider": "?reason=Locked.&until={old}",
        "a reason that is missing": "?by=policy:Rooms&reason=None",
        "first byte of the file": "export/?from={old}&until={old}",
        "first rows of the file": "export/?until={old}",
    },
    "channelpolicy": {
        "list": "",
        "list, last page": "?p={last}",
        "change": "{policy}/change/",
        "try a channel": "try/?channel=/rooms-{few}/7/&user=&operation=subscribe",
        "preview": "preview/?pattern=/rooms-{few}/<int:room>/&order=100&enabled=on&name=x",
        "delete": "{policy}/delete/",
        "export": "export/",
    },
}  # fmt: skip

#: Pages that show more the more rows there are, up to a limit, or compare a channel with more
#: policies: compared with the goal only.
LIMITED = {
    "export",
    "try a channel",
    "preview",
    "all",
    "one reason",
    "a rare reason",
    "a rare reason of a kind",
    "a rare reason until 5 days ago",
    "a rare reason, any decider",
    "a reason that is missing",
    "until 5 days ago",
    "one old day",
}
