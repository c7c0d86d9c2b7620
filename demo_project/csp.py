"""A strict Content-Security-Policy: event streams need no inline script and no exception."""

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.utils.decorators import sync_and_async_middleware

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def _protect(response):
    # Django's pages about errors, which only DEBUG shows, have inline styles and scripts.
    if not (settings.DEBUG and response.status_code in {404, 500}):
        response.headers["Content-Security-Policy"] = POLICY
    return response


@sync_and_async_middleware
def content_security_policy(get_response):
    """Send the policy with every response, streams included."""

    def respond(request):
        return _protect(get_response(request))

    async def respond_async(request):
        return _protect(await get_response(request))

    return respond_async if iscoroutinefunction(get_response) else respond
