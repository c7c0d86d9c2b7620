"""An admin, whoever visits it, and workers that it can show."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from channels.layers import channel_layers
from django.contrib.auth.models import Permission, User
from django.urls import path

from django_sse.testing import StreamClient, areset
from tests.fake_layer import FakeLayer

PAGE = "/admin/django_sse/dashboard/"
STREAM = f"{PAGE}stream/"


@pytest.fixture
def admin_urls(settings: Any) -> Callable[[Any], None]:
    """Return a function that puts an admin site at /admin/."""

    def use(site: Any) -> None:
        settings.ROOT_URLCONF = (path("admin/", site.urls),)

    return use


@pytest.fixture
def admin_site(admin_urls: Callable[[Any], None]) -> Any:
    """Django's own admin site."""
    from django.contrib import admin

    admin_urls(admin.site)
    return admin.site


@pytest.fixture(autouse=True)
def _leases(settings: Any) -> None:
    settings.DJANGO_SSE = {"LEASE_SECONDS": 2}


@pytest.fixture
async def layer() -> FakeLayer:
    """The project's channel layer, which notes what is said to it."""
    layer = FakeLayer()
    channel_layers.set("default", layer)
    return layer


Staff = Callable[..., Awaitable[User]]


@pytest.fixture
async def browser(transactional_db: None) -> AsyncIterator[StreamClient]:
    """A client of the package's own entry; in the end its streams end with their rows."""
    client = StreamClient(None)
    yield client
    await client.close()
    await areset()


@pytest.fixture
def log_in_staff(browser: StreamClient, sync: Any, log_in: Any) -> Staff:
    """Return a function that logs a member of the staff in, with some permissions."""

    def make(name: str, permissions: tuple[str, ...]) -> User:
        user = User.objects.create_user(name, password="secret", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        log_in(browser, user)
        return user

    async def log_staff_in(*permissions: str, name: str = "ada") -> User:
        user: User = await sync(make, name, permissions)
        return user

    return log_staff_in


@pytest.fixture
async def operator(admin_site: Any, log_in_staff: Staff) -> User:
    """Who may view connections, and has logged in."""
    return await log_in_staff("view_connection")
