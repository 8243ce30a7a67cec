"""The example site's views: ordinary views that publish what they change."""

import logging
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.db import transaction
from django.db.models import Case, F, When
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

import djhookbox

from .accounts import ACCOUNTS
from .models import Dish, Order, Task

logger = logging.getLogger(__name__)

ROOMS = ["lobby", "kitchen", "garden"]
TOPICS = ["today", "sports", "weather"]
TASKS_CHANNEL = "/tasks/"
POLL_CHANNEL = "/poll/lunch/"
ORDERS_CHANNEL = "/orders/"


class Login(LoginView):
    """Django's login page, which also shows the accounts of the demo."""

    redirect_authenticated_user = True
    extra_context = {"accounts": ACCOUNTS}

    def get_initial(self) -> dict[str, str]:
        """Fill in the selected name."""
        return {"username": self.request.GET.get("user", "")}


def home(request: HttpRequest) -> HttpResponse:
    """Redirect to the chat."""
    return redirect("chat", ROOMS[0])


@login_required
def chat(request: HttpRequest, room: str) -> HttpResponse:
    """Show a chat room."""
    return render(request, "demosite/chat.html", {"room": room, "rooms": ROOMS})


def news(request: HttpRequest, topic: str) -> HttpResponse:
    """Show the news on a topic, even to visitors without an account."""
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


# ---- htmx: a message says that something has changed, and the page fetches it -------------------


@login_required
def tasks(request: HttpRequest) -> HttpResponse:
    """Show the shared list; htmx receives only the list itself."""
    # The cursor comes before the query, so that nothing published in between is lost.
    cursor = djhookbox.cursor(TASKS_CHANNEL)
    partial = request.headers.get("HX-Request")
    template = "demosite/tasks_list.html" if partial else "demosite/tasks.html"
    context = {"tasks": Task.objects.all(), "channel": TASKS_CHANNEL, "cursor": cursor}
    return render(request, template, context)


@login_required
@require_POST
def add_task(request: HttpRequest) -> HttpResponse:
    """Add an item and notify all pages."""
    text = request.POST.get("text", "").strip()[:200]
    if text:
        Task.objects.create(text=text)
        tell(TASKS_CHANNEL, {})
    return redirect("tasks")


@login_required
@require_POST
def toggle_task(request: HttpRequest, pk: int) -> HttpResponse:
    """Check or uncheck an item and notify all pages."""
    Task.objects.filter(pk=pk).update(done=Case(When(done=True, then=False), default=True))
    tell(TASKS_CHANNEL, {})
    return redirect("tasks")


# ---- Alpine: a message says what has changed, and the page counts it -----------------------------


@login_required
def poll(request: HttpRequest) -> HttpResponse:
    """Show the number of votes for each dish; scripts receive JSON."""
    cursor = djhookbox.cursor(POLL_CHANNEL)  # before the query: each vote is counted once
    votes = {dish.name: dish.votes for dish in Dish.objects.all()}
    if request.accepts("text/html"):
        context = {"votes": votes, "channel": POLL_CHANNEL, "cursor": cursor}
        return render(request, "demosite/poll.html", context)
    return JsonResponse(votes)


@login_required
@require_POST
def vote(request: HttpRequest) -> HttpResponse:
    """Count a vote and notify all pages."""
    name = request.POST.get("dish", "")
    if not Dish.objects.filter(name=name).update(votes=F("votes") + 1):
        return HttpResponse("Unknown dish.", status=404, content_type="text/plain")
    tell(POLL_CHANNEL, {"dish": name})
    return HttpResponse(status=204)


# ---- a durable channel: an order and its message are one transaction ----------------------------


@login_required
def orders(request: HttpRequest) -> HttpResponse:
    """Show the orders."""
    cursor = djhookbox.cursor(ORDERS_CHANNEL)  # one query; Hookbox need not be running
    context = {
        "orders": Order.objects.all()[:50],
        "channel": ORDERS_CHANNEL,
        "cursor": cursor,
        "failed": "failed" in request.GET,
    }
    return render(request, "demosite/orders.html", context)


@login_required
@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Place an order, or show that nobody hears of one that is rolled back."""
    what = request.POST.get("what", "").strip()[:100]
    fails = "fails" in request.POST
    with transaction.atomic():
        if what:
            Order.objects.create(what=what)  # `djhookbox.notify` publishes it
        transaction.set_rollback(fails)
    return redirect(f"{reverse('orders')}{'?failed' if fails else ''}")


@login_required
@require_POST
def advance_order(request: HttpRequest) -> HttpResponse:
    """Take an order to its next step."""
    pk = request.POST.get("order", "")
    with transaction.atomic():
        order = Order.objects.filter(pk=pk).first() if pk.isdecimal() and len(pk) < 19 else None
        if order is not None:
            order.advance()
    return redirect("orders")


def tell(channel: str, payload: dict[str, str]) -> None:
    """Publish a message. The data is in the database, whether or not Hookbox is running."""
    try:
        djhookbox.publish(channel, payload)
    except djhookbox.HookboxError as error:
        logger.warning("Pages were not notified of a change: %s", error)
