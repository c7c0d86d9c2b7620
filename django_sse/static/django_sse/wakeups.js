/** @file What happens to the page: it is put away and shown again, and its network comes back. */

/**
 * @typedef {object} WakeupHandlers
 * @property {() => void} onAway The page is away: nothing may be open. May be called again.
 * @property {() => void} onBack The page is there, and its reader may be looking.
 * @property {() => void} onOnline The network is back, and may be another.
 */

export class Wakeups {
  #pauseHidden;
  #handlers;
  #isStored = false; // In the back/forward cache, or frozen: no code of the page runs.
  /** @type {AbortController | undefined} */
  #listening;

  /**
   * @param {boolean} pauseHidden Whether a hidden page is away.
   * @param {WakeupHandlers} handlers
   */
  constructor(pauseHidden, handlers) {
    this.#pauseHidden = pauseHidden;
    this.#handlers = handlers;
  }

  get isAway() {
    return this.#isStored || (this.#pauseHidden && document.hidden);
  }

  start() {
    this.#isStored = false;
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    for (const type of ["pagehide", "pageshow", "online"]) {
      addEventListener(type, this, { signal });
    }
    for (const type of ["visibilitychange", "freeze", "resume"]) {
      document.addEventListener(type, this, { signal });
    }
  }

  stop() {
    this.#listening?.abort();
  }

  /** @param {Event} event */
  handleEvent({ type }) {
    if (["pagehide", "freeze"].includes(type)) {
      this.#isStored = true;
    } else if (["pageshow", "resume"].includes(type)) {
      this.#isStored = false;
    }
    if (this.isAway) {
      this.#handlers.onAway();
    } else if (type === "online") {
      this.#handlers.onOnline();
    } else {
      this.#handlers.onBack();
    }
  }
}
