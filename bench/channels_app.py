"""The comparison: Django Channels on Daphne, with the in-memory layer and a minimal consumer."""

from __future__ import annotations

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

GROUP = "bench"


class Subscriber(AsyncWebsocketConsumer):
    """One connection, subscribed to the one group."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def publication(self, event: dict[str, str]) -> None:
        await self.send(text_data=event["text"])


async def publish(request: HttpRequest) -> HttpResponse:
    """Send the body to the group."""
    message = {"type": "publication", "text": request.body.decode()}
    await get_channel_layer().group_send(GROUP, message)
    return HttpResponse("ok", headers={"Content-Length": "2"})


urlpatterns = [path("publish", publish)]
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": Subscriber.as_asgi()}
)
