/** @file The way of an event into the page: dispatched, swapped in, and after a reset reloaded. */

/** @import { ReflectedElement } from "./attributes.js" */
/** @import { Rule } from "./swap.js" */
/** @import { StreamEvent } from "./types.js" */

import { Backoff } from "./backoff.js";
import { applySwap, names, parseRules, reload } from "./swap.js";

/** How often a reload is tried. */
const TRIES = 5;
/** How long a try may take. */
const PATIENCE_MS = 30_000;

/**
 * One event of the server's.
 * @extends {CustomEvent<unknown>}
 */
export class ServerSentEvent extends CustomEvent {
  /** @param {StreamEvent} event @param {unknown} detail Its data, parsed. */
  constructor({ type, data, lastEventId }, detail) {
    super(type, { bubbles: true, cancelable: true, composed: true, detail });
    this.data = data;
    this.lastEventId = lastEventId;
  }
}

/** Delivers in order, one by one. While the page is reloaded after a reset, events wait. */
export class Delivery {
  #element;
  /** @type {Rule[]} */
  #rules = [];
  /** @type {StreamEvent[]} */
  #queue = [];
  /** @type {AbortController | undefined} */
  #reloading;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {ReflectedElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** The names in `swap`. */
  get names() {
    return names(this.#rules);
  }

  /** Read `swap` and `target` anew. */
  configure() {
    this.#rules = [];
    this.#rules = parseRules(this.#element.swap, this.#element.target);
  }

  /** Let no reload go on. What waits for it waits on. */
  suspend() {
    clearTimeout(this.#timer);
    if (this.#reloading) {
      this.#reloading.abort();
      this.#reloading = new AbortController();
    }
  }

  resume() {
    if (this.#reloading) {
      this.#reload();
    }
  }

  /** @param {StreamEvent} event */
  take(event) {
    this.#queue.push(event);
    this.#run();
  }

  #run() {
    while (!this.#reloading) {
      const event = this.#queue.shift();
      if (!event) {
        return;
      }
      try {
        this.#deliver(event);
      } catch (error) {
        reportError(error); // The next one is not to blame.
      }
    }
  }

  /** @param {StreamEvent} event */
  #deliver(event) {
    const { type, data: text } = event;
    const isReset = type === "reset";
    const data = isReset ? text : this.#parse(text);
    if (!this.#element.dispatchEvent(new ServerSentEvent(event, data))) {
      return;
    }
    if (isReset) {
      this.#reload();
    } else {
      applySwap(this.#element, this.#rules, { type, data, text });
    }
  }

  /** @param {string} text */
  #parse(text) {
    const { parse } = this.#element;
    try {
      return parse === "text" ? text : JSON.parse(text);
    } catch (error) {
      if (parse === "json") {
        throw error;
      }
      return text;
    }
  }

  async #reload(tries = TRIES, backoff = new Backoff()) {
    const reloading = (this.#reloading = new AbortController());
    this.#timer = setTimeout(() => {
      reloading.abort(new Error("Reloading after a reset: no answer in time."));
    }, PATIENCE_MS);
    /** @type {unknown} */
    let failure;
    try {
      await reload(this.#element, this.#rules, this.#element.reloadUrl, reloading.signal);
    } catch (error) {
      failure = error;
    }
    if (reloading !== this.#reloading) {
      return; // Suspended meanwhile.
    }
    clearTimeout(this.#timer);
    if (failure && tries > 1) {
      this.#timer = setTimeout(() => this.#reload(tries - 1, backoff), backoff.next());
      return;
    }
    if (failure) {
      reportError(failure);
    }
    this.#reloading = undefined;
    this.#run();
  }
}
