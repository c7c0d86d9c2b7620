"""
The settings of the demo project.

It is for your own machine: its key and its users' passwords are public. Read from the environment
are ``DEMO_DATABASE`` (the path of the SQLite file), ``DEMO_HOSTS`` (the names it may be called by,
with commas between them) and ``REDIS_URL``, for more than one process.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "the demo's key is public"
DEBUG = True
ALLOWED_HOSTS = os.environ.get("DEMO_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

ASGI_APPLICATION = "demo_project.asgi.application"
ROOT_URLCONF = "demo_project.urls"
INSTALLED_APPS = [
    "daphne",  # first, so that runserver is the one that serves ASGI
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_sse",
    "demo_project",
    "demo_project.metrics",
    "demo_project.builds",
    "demo_project.board",
    "demo_project.inbox",
    "demo_project.orders",
    "demo_project.presence",
    "demo_project.broadcast",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "demo_project.csp.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {
            # A build writes its log while pages read theirs.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if "REDIS_URL" in os.environ:  # needs channels_redis, as `pip install -e .[redis]` brings it
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

# A demo is restarted often: its pages come back sooner than by the default of three seconds.
DJANGO_SSE = {"RECONNECTION_TIME_MS": 1000}

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
STATIC_URL = "static/"
TIME_ZONE = "UTC"
USE_TZ = True
