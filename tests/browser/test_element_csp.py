"""<event-source> under a Content-Security-Policy that allows nothing but itself."""

from typing import Any

import django
import pytest

from tests.browser.processes import Visitors
from tests.browser.rows import RowsSite, is_state

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.servers]

#: Resolves to what the policy refuses an inline script by.
INLINE = """
() => new Promise((resolve) => {
  document.addEventListener("securitypolicyviolation", (event) => {
    resolve(event.effectiveDirective);
  });
  const script = document.createElement("script");
  script.textContent = "document.title = 'Inline'";
  document.body.append(script);
})
"""
#: The page, and the policy that its view sets.
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "self": ("page", {"policy": "self"}),
    "nonce": ("page", {"policy": "nonce"}),
    "django": ("page-with-djangos-policy", {}),
}


@pytest.mark.parametrize("policy", POLICIES)
async def test_page_with_a_strict_policy_is_live(
    site: RowsSite, visitors: Visitors, policy: str
) -> None:
    """What the tag writes and what the element loads is allowed; an inline script is not."""
    if policy == "django" and django.VERSION < (6, 0):
        pytest.skip("Django has policies of its own since 6.0.")
    kind, query = POLICIES[policy]
    # With what it imports only if it is asked to.
    page = await visitors.page(site.page_url(kind, shared=1, transport="fetch", **query))
    await is_state(page, "open")
    await site.is_shown(page)
    assert visitors.errors == []
    assert await page.evaluate(INLINE) == "script-src-elem"
    assert await page.title() == "Rows"
