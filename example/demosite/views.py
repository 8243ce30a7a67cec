"""The example site's views: ordinary ones. Everything realtime is in the templates' scripts."""

from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from .accounts import ACCOUNTS

ROOMS = ["lobby", "kitchen", "garden"]
TOPICS = ["today", "sports", "weather"]


class Login(LoginView):
    """Django's own login page, which also tells a guest of the demo the accounts."""

    redirect_authenticated_user = True
    extra_context = {"accounts": ACCOUNTS}

    def get_initial(self) -> dict[str, str]:
        """Fill in the name that was picked."""
        return {"username": self.request.GET.get("user", "")}


def home(request: HttpRequest) -> HttpResponse:
    """Begin in the chat."""
    return redirect("chat", ROOMS[0])


@login_required
def chat(request: HttpRequest, room: str) -> HttpResponse:
    """Show a chat room."""
    return render(request, "demosite/chat.html", {"room": room, "rooms": ROOMS})


def news(request: HttpRequest, topic: str) -> HttpResponse:
    """Show the news on a topic, also to visitors without an account."""
    policy = {
        "name": "News",
        "pattern": "/news/<slug:topic>/",
        "subscribe_audience": "everyone",
        "publish_audience": "staff",
        "history_size": 20,
    }
    add_policy = f"{reverse('admin:djhookbox_channelpolicy_add')}?{urlencode(policy)}"
    context = {"topic": topic, "topics": TOPICS, "add_policy": add_policy}
    return render(request, "demosite/news.html", context)
