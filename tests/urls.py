"""The URLs of the tests' project. Tests bring views of their own by the fixture ``route``."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

__all__ = ["urlpatterns"]


def hello(request: HttpRequest) -> HttpResponse:
    """Answer as any page does."""
    return HttpResponse("hello")


urlpatterns = [path("hello/", hello)]
