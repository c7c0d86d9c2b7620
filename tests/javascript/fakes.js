/** What the modules take from a browser, in the hands of a test. */

import { mock } from "node:test";

/** The last one made is the one that a test talks to. */
export class FakeEventSource extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  /** @type {FakeEventSource[]} */
  static made = [];

  constructor(url, { withCredentials = false } = {}) {
    super();
    this.url = new URL(url, document.baseURI);
    this.withCredentials = withCredentials;
    this.readyState = 0;
    this.id = "";
    this.heard = new Set();
    this.addEventListener("open", (event) => this.onopen?.(event));
    this.addEventListener("error", (event) => this.onerror?.(event));
    this.heard.clear();
    FakeEventSource.made.push(this);
  }

  static get last() {
    return this.made.at(-1);
  }

  static get open() {
    return this.made.filter(({ readyState }) => readyState !== this.CLOSED);
  }

  addEventListener(type, ...rest) {
    this.heard.add(type);
    super.addEventListener(type, ...rest);
  }

  close() {
    this.readyState = 2;
  }

  /** The param of the URL that it was made with. */
  param(name) {
    return this.url.searchParams.get(name);
  }

  // What the server and the network do.

  opens() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
    return this;
  }

  sends(type, data, id = this.id) {
    this.id = id;
    if (this.readyState !== 2) {
      this.dispatchEvent(
        Object.assign(new Event(type), { data: String(data), lastEventId: id }),
      );
    }
    return this;
  }

  beats(seconds = 10, id = this.id) {
    return this.sends("heartbeat", seconds, id);
  }

  /** The stream is lost, and the browser reconnects. */
  drops() {
    this.readyState = 0;
    this.dispatchEvent(new Event("error"));
  }

  /** The browser gives up. */
  fails() {
    this.readyState = 2;
    this.dispatchEvent(new Event("error"));
  }
}

/** Requests by fetch(), each answered by a test. */
export class FakeServer {
  /** @type {{url: URL, init: RequestInit, resolve: Function, reject: Function}[]} */
  requests = [];

  fetch = (url, init = {}) =>
    new Promise((resolve, reject) => {
      const request = { url: new URL(url, document.baseURI), init, resolve, reject };
      this.requests.push(request);
      init.signal?.throwIfAborted();
      init.signal?.addEventListener("abort", () => reject(init.signal.reason));
    });

  get last() {
    return this.requests.at(-1);
  }

  /** Answer the last request; a body that is no string is JSON. */
  async answers(status, body = "") {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const type = typeof body === "string" ? "text/html" : "application/json";
    const headers = { "Content-Type": type };
    this.last.resolve(new Response(status === 204 ? null : text, { status, headers }));
    await settled();
  }

  /** Send the last request elsewhere, to what answers so, by default a page to log in. */
  async redirects(body = "Log in", { status = 200, type = "text/html" } = {}) {
    const isText = typeof body === "string";
    const init = { status, headers: { "Content-Type": type } };
    const response = isText ? new Response(body, init) : Response.json(body);
    Object.defineProperty(response, "redirected", { value: true });
    this.last.resolve(response);
    await settled();
  }

  async isUnreachable() {
    this.last.reject(new TypeError("Failed to fetch"));
    await settled();
  }
}

/** Wait until nothing is left to do but by timers. */
export async function settled() {
  for (let turn = 0; turn < 3; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Let time pass, second by second, with all that it starts. */
export async function pass(seconds) {
  for (let rest = 1_000 * seconds; rest > 0; rest -= 1_000) {
    mock.timers.tick(Math.min(rest, 1_000));
    await settled();
  }
}

/** Let the computer sleep: the clock goes on, and timers wait for the rest of their time. */
export function sleep(seconds) {
  const now = Date.now;
  Date.now = () => now() + 1_000 * seconds;
}

class FakeElement extends EventTarget {
  static registry = new Map();
  #attributes = new Map();
  isConnected = false;

  get attributes() {
    return [...this.#attributes];
  }

  hasAttribute(name) {
    return this.#attributes.has(name);
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.#change(name, String(value));
  }

  removeAttribute(name) {
    this.#change(name, null);
  }

  toggleAttribute(name, force) {
    if (force) {
      this.setAttribute(name, "");
    } else {
      this.removeAttribute(name);
    }
  }

  #change(name, value) {
    const old = this.getAttribute(name);
    if (value === null) {
      this.#attributes.delete(name);
    } else {
      this.#attributes.set(name, value);
    }
    if (this.constructor.observedAttributes?.includes(name)) {
      this.attributeChangedCallback(name, old, value);
    }
  }

  // As the document does it.

  enter() {
    this.isConnected = true;
    this.connectedCallback();
    return this;
  }

  leave() {
    this.isConnected = false;
    this.disconnectedCallback();
  }

  clone() {
    const twin = new this.constructor();
    this.attributes.forEach(([name, value]) => twin.setAttribute(name, value));
    return twin;
  }
}

/** Put a new browser in place, at noon, with dice that always fall on the middle. */
export function install() {
  FakeEventSource.made = [];
  const page = new EventTarget();
  const server = new FakeServer();
  const document = Object.assign(new EventTarget(), {
    baseURI: "https://example.org/shop/",
    hidden: false,
    createElement: () => ({ matches: () => false }),
  });
  Object.assign(globalThis, {
    EventSource: FakeEventSource,
    HTMLElement: FakeElement,
    document,
    fetch: server.fetch,
    addEventListener: page.addEventListener.bind(page),
    location: { href: document.baseURI },
    reportError: mock.fn(),
  });
  Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  mock.method(Math, "random", () => 0.5);
  return {
    server,
    document,
    /** Let an event happen to the window. */
    window: (type) => page.dispatchEvent(new Event(type)),
    hide(isHidden) {
      document.hidden = isHidden;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

export function uninstall() {
  mock.timers.reset();
  mock.restoreAll();
}
