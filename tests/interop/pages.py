"""A page of 2011 in a browser of today."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

PATIENCE = 30_000  # milliseconds

#: Takes the first note of this kind and with these members out of what has been heard.
TAKE = """
([what, fields]) => {
    const fits = ([kind, value]) => kind === what && Object.entries(fields).every(
        ([name, wanted]) => JSON.stringify(value[name]) === JSON.stringify(wanted));
    const index = heard.findIndex(fits);
    return index < 0 ? null : {value: heard.splice(index, 1)[0][1]};
}
"""


class OldPage:
    """What a page does with the original client, and what it hears of it (see urls.py)."""

    def __init__(self, page: Page) -> None:
        self.page = page
        #: The user's name, once it is connected.
        self.name = ""
        #: The addresses that were connected to and requested, without their queries.
        self.addresses: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("websocket", lambda socket: self.addresses.append(socket.url))
        page.on("request", lambda request: self.addresses.append(request.url.partition("?")[0]))

    def connect(self, url: str, calls: str = "") -> None:
        """Connect, and make some calls before there can be a connection."""
        self.page.evaluate(f"url => {{ open(url); {calls} }}", url)

    def subscribe(self, channel: str) -> dict[str, Any]:
        """Subscribe, and return what the client made of the answer."""
        self.page.evaluate("name => connection.subscribe(name)", channel)
        subscription: dict[str, Any] = self.expect("subscribed", channelName=channel)
        return subscription

    def publish(self, channel: str, payload: Any) -> None:
        """Publish."""
        self.page.evaluate(
            "([name, payload]) => connection.publish(name, payload)", [channel, payload]
        )

    def cancel(self, channel: str) -> None:
        """Cancel a subscription."""
        self.page.evaluate("name => subscriptions[name].cancel()", channel)

    def disconnect(self) -> None:
        """Disconnect, unless that has been done."""
        self.page.evaluate("connection.connected && connection.disconnect()")

    def subscription(self, channel: str) -> dict[str, Any]:
        """Return what the client knows of a channel now."""
        known: dict[str, Any] = self.page.evaluate(
            "name => JSON.parse(JSON.stringify(subscriptions[name]))", channel
        )
        return known

    def expect(self, what: str, **fields: Any) -> Any:
        """Wait for a callback with these members, and return its argument."""
        found = self.page.wait_for_function(TAKE, arg=[what, fields], polling=50)
        return found.json_value()["value"]

    def heard(self) -> list[Any]:
        """Return the callbacks that nobody has waited for."""
        notes: list[Any] = self.page.evaluate("heard")
        return notes
