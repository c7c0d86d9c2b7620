/** @file Noticing that a stream has fallen silent, and how long it may be. */

/** How long an answer may take, and its first event, a heartbeat. */
export const OPENING_SECONDS = 60;
/** The same where polling stands by. */
export const OPENING_OR_POLLING_SECONDS = 20;
/** How long the browser may take to get a stream back: the server's `retry:` may be minutes. */
export const RETRYING_SECONDS = 600;
/** After how many heartbeats that did not come a stream is dead. */
export const MISSED_HEARTBEATS = 2.5;

const TICK_MS = 5_000;

/**
 * Calls back once when nothing was heard for too long.
 *
 * A dead connection tells nobody, and after a sleep even a timer waits out the rest of its time.
 * So the wall clock is looked at again and again: the sleep shows at the first look. In a
 * background tab the looks come late, but what is heard does not.
 */
export class Watchdog {
  #onSilence;
  #limit = 0; // milliseconds
  #heardAt = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {() => void} onSilence */
  constructor(onSilence) {
    this.#onSilence = onSilence;
  }

  /**
   * Watch from now on. Zero seconds: any silence is fine.
   * @param {number} seconds
   */
  start(seconds) {
    this.stop();
    this.#limit = seconds * 1_000;
    this.heard();
    if (seconds > 0) {
      this.#timer = setInterval(() => this.check(), Math.min(this.#limit, TICK_MS));
    }
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  heard() {
    this.#heardAt = Date.now();
  }

  check() {
    const now = Date.now();
    this.#heardAt = Math.min(this.#heardAt, now); // The clock may have been set back.
    if (this.#timer !== undefined && now - this.#heardAt >= this.#limit) {
      this.stop();
      this.#onSilence();
    }
  }
}
