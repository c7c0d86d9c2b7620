/** @file The attributes of <event-source>, and their properties. */

/**
 * @typedef {object} Reflected
 * @property {string} src
 * @property {string} events
 * @property {string} target
 * @property {string} swap
 * @property {"auto" | "json" | "text"} parse
 * @property {string} reloadUrl
 * @property {boolean} shared
 * @property {"eventsource" | "fetch"} transport
 * @property {boolean} pauseHidden
 * @property {number} poll
 * @property {boolean} withCredentials
 * @property {string} renewUrl
 * @property {number} renewAfter
 */

/** @typedef {HTMLElement & Reflected} ReflectedElement */

/** @typedef {(value: string | null) => unknown} Reader From an attribute to its property. */

/** @type {Reader} */
const text = (value) => value ?? "";
/** @type {Reader} */
const flag = (value) => value !== null;
/** @type {Reader} */
const seconds = (value) => Math.max(Number(value), 0) || 0;
/** @type {Reader} */
const url = (value) => {
  try {
    return value ? new URL(value, document.baseURI).href : "";
  } catch {
    return value; // As <a href> does it.
  }
};
/** @type {(...values: string[]) => Reader} The first is the default. */
const oneOf = (...values) => (value) => values.find((known) => known === value) ?? values[0];

/** @type {Record<string, Reader>} */
export const ATTRIBUTES = {
  src: url,
  events: text,
  "last-event-id": text,
  target: text,
  swap: text,
  parse: oneOf("auto", "json", "text"),
  "reload-url": url,
  shared: flag,
  transport: oneOf("eventsource", "fetch"),
  "pause-hidden": flag,
  poll: seconds,
  "with-credentials": flag,
  "renew-url": url,
  "renew-after": seconds,
};

/** @param {string} name */
export const propertyOf = (name) => name.replace(/-./g, ([, letter]) => letter.toUpperCase());

/** An element with these properties: to write one is to write its attribute. */
export const ReflectingElement = /** @type {new () => ReflectedElement} */ (
  class extends HTMLElement {
    static {
      for (const [name, read] of Object.entries(ATTRIBUTES)) {
        Object.defineProperty(this.prototype, propertyOf(name), {
          configurable: true,
          enumerable: true,
          get() {
            return read(this.getAttribute(name));
          },
          set(value) {
            if (read === flag) {
              this.toggleAttribute(name, value);
            } else {
              this.setAttribute(name, value);
            }
          },
        });
      }
    }
  }
);
