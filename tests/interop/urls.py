"""The site of the integration tests, with a page as sites of 2011 had them."""

from __future__ import annotations

from django.http import FileResponse, HttpRequest, HttpResponse
from django.urls import path

from ..integration import urls
from . import genuine

#: Notes what the original client calls back.
PAGE = """<!doctype html>
<title>2011</title>
<script src="/hookbox.js"></script>
<script>
    var heard = [], subscriptions = {}, connection;

    function note(what, value) {
        heard.push([what, JSON.parse(JSON.stringify(value === undefined ? null : value))]);
    }

    function open(url) {
        connection = hookbox.connect(url);
        connection.onOpen = function() { note('open', connection.username); };
        connection.onClose = function() { note('close'); };
        connection.onError = function(args) { note('error', args); };
        connection.onSubscribed = function(name, subscription) {
            subscriptions[name] = subscription;
            subscription.onPublish = function(frame) { note('publish', frame); };
            subscription.onSubscribe = function(frame) { note('subscribe', frame); };
            subscription.onUnsubscribe = function(frame) { note('unsubscribe', frame); };
            subscription.onState = function(frame) { note('state', frame); };
            note('subscribed', subscription);
        };
        connection.onUnsubscribed = function(subscription, args) { note('unsubscribed', args); };
    }
</script>
"""


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def client(request: HttpRequest) -> FileResponse:
    return FileResponse(genuine.CLIENT.open("rb"), content_type="text/javascript")


urlpatterns = [*urls.urlpatterns, path("page/", page), path("hookbox.js", client)]
