"""
The settings of the project that the servers under test serve.

A test gives its own over these by the environment variable ``SITE_SETTINGS``, as JSON.
``SITE_WATCHED`` names a module to import, for the test to change.
"""

import importlib
import json
import os
import sys
from pathlib import Path

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.servers.site.urls"
ASGI_APPLICATION = "tests.servers.site.asgi.application"
INSTALLED_APPS = [
    # Daphne brings its runserver, and takes a third of a process's start.
    *(["daphne"] if "runserver" in sys.argv else []),
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "django_sse",
    "tests.servers.site",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
STATIC_URL = "static/"
STATICFILES_DIRS = [Path(__file__).parent / "static"]
LOGIN_URL = "/login/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "INFO"}},
}

globals().update(json.loads(os.environ.get("SITE_SETTINGS", "{}")))
#: Its tests say so themselves: others count the threads and connections of the process.
DJANGO_SSE = {"REGISTRY": False, **globals().get("DJANGO_SSE", {})}
if os.environ.get("SITE_WATCHED"):
    importlib.import_module(os.environ["SITE_WATCHED"])
