"""
The settings of the site: the demo's, with its policy, and without its pages.

``SITE_DATABASE`` is the path of the SQLite file, ``SITE_REDIS`` and ``SITE_PREFIX`` say where the
workers find one another.
"""

import os

from demo_project.settings import *  # noqa: F403
from demo_project.settings import DATABASES, INSTALLED_APPS

ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.browser.admin_site.urls"
INSTALLED_APPS = [name for name in INSTALLED_APPS if not name.startswith("demo_project")]
INSTALLED_APPS.remove("daphne")
DATABASES["default"]["NAME"] = os.environ["SITE_DATABASE"]
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["SITE_REDIS"]], "prefix": os.environ["SITE_PREFIX"]},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DJANGO_SSE = {"RECONNECTION_TIME_MS": 200, "LEASE_SECONDS": 8}
