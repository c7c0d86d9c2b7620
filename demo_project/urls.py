"""The demo's addresses: a home page, one path for each app, the admin, and signing in."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView, TemplateView

from demo_project.accounts import ADMIN, OPERATOR, PEOPLE
from demo_project.broadcast import receivers

home = TemplateView.as_view(
    template_name="home.html", extra_context={"admin": ADMIN, "open_streams": receivers.count}
)
people = [*PEOPLE, ADMIN, OPERATOR]
login = LoginView.as_view(template_name="login.html", extra_context={"people": people})

urlpatterns = [
    path("", home, name="home"),
    path("metrics/", include("demo_project.metrics.urls")),
    path("builds/", include("demo_project.builds.urls")),
    path("board/", include("demo_project.board.urls")),
    path("inbox/", include("demo_project.inbox.urls")),
    path("orders/", include("demo_project.orders.urls")),
    path("orders/", include("demo_project.presence.urls")),
    path("broadcast/", include("demo_project.broadcast.urls")),
    path("sse/", include("django_sse.urls")),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("favicon.ico", RedirectView.as_view(url=static("demo/icon.svg"))),
]
