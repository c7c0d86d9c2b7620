/** @file Getting a stream's URL anew before the token in it expires. */

const DEFAULT_SECONDS = 240;

/** @import { Ask } from "./requests.js" */

export class Renewal {
  #url;
  #ask;
  #onFresh;
  #after = 0; // milliseconds
  #dueAt = 0;
  #running = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} url What answers with the fresh one.
   * @param {number} seconds How long the present one is fresh.
   * @param {Ask} ask
   * @param {(url: string) => void} onFresh
   */
  constructor(url, seconds, ask, onFresh) {
    this.#url = url;
    this.#ask = ask;
    this.#onFresh = onFresh;
    this.#note(seconds);
  }

  /** Whether it should have been renewed: timers stop in a sleeping computer. */
  get isDue() {
    return Date.now() >= this.#dueAt;
  }

  /** Renew in time, from now on. */
  start() {
    this.stop();
    const { signal } = (this.#running = new AbortController());
    this.#timer = setTimeout(async () => {
      await this.renew(signal);
      if (!signal.aborted) {
        this.start();
      }
    }, this.#dueAt - Date.now());
  }

  stop() {
    clearTimeout(this.#timer);
    this.#running.abort();
  }

  /**
   * Renew now. Return the status of the answer; 0 where none came, or none of ours.
   * @param {AbortSignal} signal
   */
  async renew(signal) {
    this.#dueAt = Date.now() + this.#after / 4; // If this comes to nothing.
    try {
      const response = await this.#ask(this.#url, "application/json", signal);
      if (response.ok) {
        const { url, renew_url = this.#url, renew_after } = await response.json();
        this.#url = renew_url;
        this.#note(renew_after);
        this.#onFresh(url);
      }
      return response.status;
    } catch {
      return 0;
    }
  }

  /** @param {number} seconds */
  #note(seconds) {
    this.#after = 1_000 * (seconds > 0 ? seconds : DEFAULT_SECONDS);
    this.#dueAt = Date.now() + this.#after;
  }
}
