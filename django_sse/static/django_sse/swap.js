/** @file What events do to the page: the attributes `swap` and `target`. */

import { parse, parsePage } from "./html.js";
import { asking } from "./requests.js";

/**
 * @typedef {object} Rule
 * @property {string | null} event The event's name; null: every event that is heard.
 * @property {string} verb
 * @property {string} selector With placeholders; empty: the element itself.
 * @property {boolean} isByName The event names what it is for; `selector` is for reload() only.
 */

/** @typedef {(target: Element, content: DocumentFragment) => void} Change */

/** @type {Record<string, Change>} */
const CHANGES = {
  innerHTML: (target, content) => target.replaceChildren(content),
  outerHTML: (target, content) => target.replaceWith(content),
  beforebegin: insertion("before"),
  afterbegin: insertion("prepend"),
  beforeend: insertion("append"),
  afterend: insertion("after"),
  delete: (target) => target.remove(),
  morph: morphing("outerHTML"),
  none: () => {},
};
const VERBS = Object.keys(CHANGES);
const PLACEHOLDER = /\{([^}]*)\}/g;
// A name may have colons of its own: it ends at the one that a verb comes behind.
const RULE = new RegExp(`^(.+?)\\s*:\\s*(${VERBS.join("|")})(?:\\s+(.+))?$`, "s");

/**
 * Read the two attributes. Without rules nothing is swapped.
 * @param {string} swap A verb, or "event: verb selector; event: verb; …".
 * @param {string} target A selector.
 * @returns {Rule[]}
 * @throws {SyntaxError}
 */
export function parseRules(swap, target) {
  check(target, `target="${target}"`);
  const all = swap.trim() || (target ? "innerHTML" : "none");
  if (VERBS.includes(all)) {
    return all === "none" ? [] : [{ event: null, verb: all, selector: target, isByName: false }];
  }
  const texts = all.split(";").map((text) => text.trim());
  return texts.filter(Boolean).map((text) => {
    const [, event, verb, selector = ""] = RULE.exec(text) ?? [];
    if (!event) {
      const verbs = VERBS.join(", ");
      throw new SyntaxError(`swap: "${text}" is not "event: verb selector"; verbs are ${verbs}.`);
    }
    check(selector, `swap: "${text}"`);
    const isByName = !selector && ["outerHTML", "morph", "delete"].includes(verb);
    return { event, verb, selector: selector || target, isByName };
  });
}

/** @param {string} selector @param {string} where */
function check(selector, where) {
  try {
    document.createElement("p").matches(selector.replace(PLACEHOLDER, "x") || "p");
  } catch {
    throw new SyntaxError(`${where}: "${selector}" is no CSS selector; "#orders" is one.`);
  }
}

/**
 * The names of the events in the rules.
 * @param {Rule[]} rules
 */
export function names(rules) {
  return new Set(rules.flatMap(({ event }) => event ?? []));
}

/**
 * Do what the rules say of an event. Scripts in its HTML do not run, as with innerHTML.
 * @param {Element} element The `<event-source>`.
 * @param {Rule[]} rules
 * @param {{type: string, data: any, text: string}} event Its data, parsed, and as it came.
 */
export function applySwap(element, rules, { type, data, text }) {
  for (const { event, verb, selector, isByName } of rules) {
    if (event !== null && event !== type) {
      continue;
    }
    const isHTML = typeof data === "string";
    const content = parse(isHTML ? data : "");
    if (!isHTML) {
      content.append(text); // JSON, in which nobody has escaped a "<".
    }
    const target = isByName
      ? byId(element, content.firstElementChild?.id || data?.id)
      : find(element, fill(selector, data));
    swap(element, target, content, CHANGES[verb]);
  }
}

/**
 * Get anew what is in the targets of the rules, as after a reset. A selector with placeholders is
 * about one of many, and no such target.
 * @param {Element} element
 * @param {Rule[]} rules
 * @param {string} url Its answer is searched for each target; where there is one target and it is
 *     not found, the answer is all content. Empty: the page itself, which is only searched.
 * @param {AbortSignal} signal
 * @throws {Error} If there is no good answer.
 */
export async function reload(element, rules, url, signal) {
  const own = element.id && `#${CSS.escape(element.id)}`;
  const targets = new Map();
  for (const { verb, selector, isByName } of rules) {
    if (!selector.includes("{") && (selector || !isByName)) {
      targets.set(selector, verb === "morph" ? morphing("innerHTML") : CHANGES.innerHTML);
    }
  }
  if (!targets.size) {
    return;
  }
  const response = await asking(false)(url || location.href, "text/html", signal);
  // Led elsewhere it is a page to log in, most likely, and the error names it.
  if (!response.ok || (url && response.redirected)) {
    throw new Error(`Reloading after a reset: ${response.url} answers ${response.status}.`);
  }
  const page = parsePage(await response.text());
  for (const [selector, change] of targets) {
    const found = page.querySelector(selector || own || ":not(*)");
    if (found || (url && targets.size === 1)) {
      const content = parse("");
      content.append(...(found || ("body" in page ? page.body : page)).childNodes);
      swap(element, find(element, selector), content, change);
    }
  }
}

/**
 * Change the page, and give back the focus to what comes in place of the element that had it.
 * @param {Element} element The `<event-source>`.
 * @param {Element | null} target
 * @param {DocumentFragment} content
 * @param {Change} change
 */
function swap(element, target, content, change) {
  if (!target) {
    return;
  }
  const root = rootOf(target);
  const old = /** @type {HTMLInputElement | null} */ (root.activeElement);
  const [start, end] = [old?.selectionStart, old?.selectionEnd];
  const wasThere = element.isConnected;
  change(target, content);
  if (wasThere && !element.isConnected && target !== element) {
    console.warn("A swap has removed its <event-source>:", element, target);
  }
  if (old?.id && !old.isConnected) {
    const now = /** @type {HTMLInputElement | null} */ (root.getElementById(old.id));
    now?.focus({ preventScroll: true });
    if (start != null && now?.selectionStart != null) {
      now.setSelectionRange(start, end ?? start);
    }
  }
}

/**
 * An element whose id is on the page takes that one's place: nothing is there twice.
 * @param {"before" | "prepend" | "append" | "after"} method
 * @returns {Change}
 */
function insertion(method) {
  return (target, content) => {
    const pairs = [...content.children].map((child) => ({ child, old: byId(target, child.id) }));
    target[method](content);
    pairs.forEach(({ child, old }) => old?.replaceWith(child));
  };
}

/** @param {"innerHTML" | "outerHTML"} morphStyle @returns {Change} */
function morphing(morphStyle) {
  return (target, content) => {
    const { Idiomorph } = /** @type {any} */ (globalThis);
    if (Idiomorph) {
      const options = { morphStyle, ignoreActiveValue: true }; // Somebody may be typing there.
      Idiomorph.morph(target, [...content.childNodes], options);
    } else {
      CHANGES[morphStyle](target, content);
    }
  };
}

/**
 * The selector with the data in place of each "{name}"; undefined where the data has no such.
 * @param {string} selector @param {any} data
 */
function fill(selector, data) {
  let isWhole = true;
  const filled = selector.replace(PLACEHOLDER, (_, name) => {
    isWhole &&= data?.[name] != null;
    return CSS.escape(data?.[name]);
  });
  return isWhole ? filled : undefined;
}

/** @param {Element} element @param {string | undefined} selector */
function find(element, selector) {
  return selector ? rootOf(element).querySelector(selector) : selector === "" ? element : null;
}

/** @param {Element} element @param {string} id */
function byId(element, id) {
  return rootOf(element).getElementById(id);
}

/** The document, or the shadow tree. @param {Element} element */
function rootOf(element) {
  return /** @type {Document | ShadowRoot} */ (element.getRootNode());
}
