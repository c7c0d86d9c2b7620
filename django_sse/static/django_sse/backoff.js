/** @file How long to wait before the next attempt. */

const FIRST_MS = 1_000;
const LAST_MS = 30_000;

/**
 * Waits that double, each drawn from zero up ("full jitter"), so that clients which lost their
 * server in one moment do not come back in one.
 */
export class Backoff {
  #ceiling = FIRST_MS;
  #succeededAt = Infinity;

  /** Begin anew with short waits. */
  reset() {
    this.#ceiling = FIRST_MS;
  }

  /** Note that an attempt has succeeded. If that lasts, the waits begin anew. */
  succeed() {
    this.#succeededAt = Date.now();
  }

  /** Return the milliseconds to wait now. */
  next() {
    // A server that takes everyone in and falls over has not recovered.
    if (Date.now() - this.#succeededAt >= LAST_MS) {
      this.reset();
    }
    this.#succeededAt = Infinity;
    const wait = Math.random() * this.#ceiling;
    this.#ceiling = Math.min(2 * this.#ceiling, LAST_MS);
    return wait;
  }
}
