"""The example site's views: ordinary ones, which publish what they change."""

import logging
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.db.models import Case, F, When
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

import djhookbox

from .accounts import ACCOUNTS
from .models import Dish, Task

logger = logging.getLogger(__name__)

ROOMS = ["lobby", "kitchen", "garden"]
TOPICS = ["today", "sports", "weather"]
TASKS_CHANNEL = "/tasks/"
POLL_CHANNEL = "/poll/lunch/"


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


# ---- with htmx: a message says that something has changed, and the page fetches it --------------


@login_required
def tasks(request: HttpRequest) -> HttpResponse:
    """Show the shared list; to htmx only the list itself."""
    # Taken before the query: what is published between the two is not lost.
    cursor = djhookbox.cursor(TASKS_CHANNEL)
    partial = request.headers.get("HX-Request")
    template = "demosite/tasks_list.html" if partial else "demosite/tasks.html"
    context = {"tasks": Task.objects.all(), "channel": TASKS_CHANNEL, "cursor": cursor}
    return render(request, template, context)


@login_required
@require_POST
def add_task(request: HttpRequest) -> HttpResponse:
    """Add a line, and tell everybody."""
    text = request.POST.get("text", "").strip()[:200]
    if text:
        Task.objects.create(text=text)
        tell(TASKS_CHANNEL, {})
    return redirect("tasks")


@login_required
@require_POST
def toggle_task(request: HttpRequest, pk: int) -> HttpResponse:
    """Tick a line off, or not after all, and tell everybody."""
    Task.objects.filter(pk=pk).update(done=Case(When(done=True, then=False), default=True))
    tell(TASKS_CHANNEL, {})
    return redirect("tasks")


# ---- with Alpine: a message says what has changed, and the page counts it ------------------------


@login_required
def poll(request: HttpRequest) -> HttpResponse:
    """Show how many want which dish; to scripts as JSON."""
    cursor = djhookbox.cursor(POLL_CHANNEL)  # before the query: each vote is counted once
    votes = {dish.name: dish.votes for dish in Dish.objects.all()}
    if request.accepts("text/html"):
        context = {"votes": votes, "channel": POLL_CHANNEL, "cursor": cursor}
        return render(request, "demosite/poll.html", context)
    return JsonResponse(votes)


@login_required
@require_POST
def vote(request: HttpRequest) -> HttpResponse:
    """Count a vote, and tell everybody."""
    name = request.POST.get("dish", "")
    if not Dish.objects.filter(name=name).update(votes=F("votes") + 1):
        return HttpResponse("There is no such dish.", status=404, content_type="text/plain")
    tell(POLL_CHANNEL, {"dish": name})
    return HttpResponse(status=204)


def tell(channel: str, payload: dict[str, str]) -> None:
    """Publish; the list and the votes stand in the database, whether or not Hookbox runs."""
    try:
        djhookbox.publish(channel, payload)
    except djhookbox.HookboxError as error:
        logger.warning("Nobody was told of a change: %s", error)
