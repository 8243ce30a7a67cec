"""The example site's pages."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("chat/<slug:room>/", views.chat, name="chat"),
    path("news/<slug:topic>/", views.news, name="news"),
    path("tasks/", views.tasks, name="tasks"),
    path("tasks/add/", views.add_task, name="add_task"),
    path("tasks/<int:pk>/toggle/", views.toggle_task, name="toggle_task"),
    path("poll/", views.poll, name="poll"),
    path("poll/vote/", views.vote, name="vote"),
    path("orders/", views.orders, name="orders"),
    path("orders/place/", views.place_order, name="place_order"),
    path("orders/advance/", views.advance_order, name="advance_order"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("hookbox/", include("djhookbox.urls")),  # django-hookbox: the webhooks
]
