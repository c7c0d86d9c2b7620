/** @file Getting a stream's URL anew before the token in it expires. */

/** @import { Address } from "./address.js" */
/** @import { Ask } from "./requests.js" */

import { isRefusal } from "./requests.js";

/** How an answer counts that comes from elsewhere: a page to log in, or a network's own. */
const REFUSED = 403;

export class Renewal {
  #address;
  #ask;
  #running = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Address} address What is renewed. @param {Ask} ask */
  constructor(address, ask) {
    this.#address = address;
    this.#ask = ask;
  }

  /** Renew in time, from now on. */
  start() {
    this.stop();
    const { signal } = (this.#running = new AbortController());
    this.#timer = setTimeout(async () => {
      if (this.#address.isDue) {
        await this.renew(signal);
      }
      if (!signal.aborted) {
        this.start();
      }
    }, this.#address.wait);
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
    this.#address.postpone(); // If this comes to nothing.
    try {
      const response = await this.#ask(this.#address.renewUrl, "application/json", signal);
      const status = response.redirected ? REFUSED : response.status;
      if (isRefusal(status)) {
        this.#address.giveUp(); // Until the stream itself is refused.
      } else if (response.ok) {
        this.#address.renew(await response.json());
      }
      return status;
    } catch {
      return 0;
    }
  }
}
