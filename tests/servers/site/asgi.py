"""The entries under test: each serves the same project."""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application as get_stock_application

from django_sse import layer_link
from django_sse.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.servers.site.settings")

if "SITE_RENEW_SECONDS" in os.environ:
    layer_link._RENEW_SECONDS = float(os.environ["SITE_RENEW_SECONDS"])

application = get_asgi_application()
stock = get_stock_application()
routed = ProtocolTypeRouter({"http": application})
routed_stock = ProtocolTypeRouter({"http": stock})
