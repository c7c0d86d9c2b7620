"""The demo's settings with the suite's app: a type checker then knows the models of both."""

from demo_project.settings import *  # noqa: F403
from demo_project.settings import INSTALLED_APPS as DEMO_APPS

INSTALLED_APPS = [*DEMO_APPS, "tests"]
