/** @file Which of the tabs leads: the one that holds the Web Lock of a name. */

/**
 * @typedef {object} LeadershipHandlers
 * @property {() => void} onLead
 * @property {() => void} onRobbed Another has taken it. It is asked for again.
 * @property {() => void} onRefused There are no locks for this page.
 */

export class Leadership {
  #name;
  #handlers;
  /** @type {AbortController | undefined} Of the request, until it is withdrawn. */
  #bid;

  /** @param {string} name @param {LeadershipHandlers} handlers */
  constructor(name, handlers) {
    this.#name = name;
    this.#handlers = handlers;
  }

  /** Lead when it is this tab's turn. */
  ask() {
    this.#request(false);
  }

  /** Lead now. For where the leader is there, but does not answer. */
  rob() {
    this.#request(true);
  }

  /** Do not lead, or no longer. */
  leave() {
    this.#bid?.abort();
    this.#bid = undefined;
  }

  /** @param {boolean} steal */
  async #request(steal) {
    this.leave();
    const bid = (this.#bid = new AbortController());
    const { signal } = bid;
    const hold = () =>
      new Promise((release) => {
        signal.addEventListener("abort", release);
        if (signal.aborted) {
          release(undefined);
        } else {
          this.#handlers.onLead();
        }
      });
    try {
      await navigator.locks.request(this.#name, steal ? { steal } : { signal }, hold);
    } catch (error) {
      if (this.#bid !== bid) {
        return; // Withdrawn.
      }
      if (/** @type {DOMException} */ (error).name === "AbortError") {
        this.ask();
        this.#handlers.onRobbed();
      } else {
        this.#handlers.onRefused();
      }
    }
  }
}
