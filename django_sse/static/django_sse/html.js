/** @file From HTML to nodes, none of whose scripts run. */

/** @typedef {{createHTML(html: string): string}} Policy As of Trusted Types. */

/** What a page allows by the directive `trusted-types`. */
const POLICY = "django-sse";
/** @type {Policy | undefined} */
let policy;

/**
 * The HTML, for a browser that may want a policy to vouch for it: the server has written it.
 * @param {string} html
 */
function trusted(html) {
  const { trustedTypes } = /** @type {any} */ (globalThis);
  policy ??= trustedTypes?.createPolicy(POLICY, { createHTML: (/** @type {string} */ text) => text });
  return policy?.createHTML(html) ?? html;
}

/** @param {string} html A fragment. */
export function parse(html) {
  const template = document.createElement("template"); // Takes a <tr> without its table.
  // The blank lines around an element would gather; those of text belong to it.
  template.innerHTML = trusted(/^\s*<[^]*>\s*$/.test(html) ? html.trim() : html);
  return template.content;
}

/** @param {string} html A whole page, which has a body and maybe selectors that say so, or not. */
export function parsePage(html) {
  const isWhole = /^(\s|<!--[^]*?-->)*<(!doctype|html|head|body)[\s>]/i.test(html);
  return isWhole ? new DOMParser().parseFromString(trusted(html), "text/html") : parse(html);
}
