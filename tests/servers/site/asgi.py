"""The entries under test: each serves the same project."""

import os
from types import ModuleType

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application as get_stock_application

from django_sse import exits, hub, layer_link, lifecycle, threads
from django_sse.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.servers.site.settings")

#: What a test may set by the environment, and where it stands in the package.
SECONDS: dict[str, list[tuple[ModuleType, str]]] = {
    "SITE_RENEW_SECONDS": [(layer_link, "_RENEW_SECONDS")],
    "SITE_IDLE_SECONDS": [(threads, "_IDLE_SECONDS")],
    "SITE_EXIT_SECONDS": [
        (lifecycle, "_EXIT_SECONDS"),
        (hub, "_LAST_READ_SECONDS"),
        (exits, "_LAST_SECONDS"),
    ],
}
for variable, places in SECONDS.items():
    if variable in os.environ:
        for module, name in places:
            setattr(module, name, float(os.environ[variable]))

application = get_asgi_application()
stock = get_stock_application()
routed = ProtocolTypeRouter({"http": application})
routed_stock = ProtocolTypeRouter({"http": stock})
