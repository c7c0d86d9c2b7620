"""The site's ASGI application, with its static files."""

import os

from django_sse.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.browser.admin_site.settings")

_application = get_asgi_application()

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402 - wants the apps

application = ASGIStaticFilesHandler(_application)
