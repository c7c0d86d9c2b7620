/** @file Where a stream is, and where to get its URL anew before the token in it expires. */

/**
 * @typedef {object} Renewed What the server has said, as one tab tells it to another.
 * @property {string} url
 * @property {string} renewUrl
 * @property {number} after For how many milliseconds the URL is good.
 * @property {number} until
 */

const DEFAULT_SECONDS = 240;
/** A timer knows no longer wait, and takes such a one for none at all. */
const MAX_WAIT_MS = 2 ** 31 - 1;

/** It outlives connections: what one has renewed, the next one begins with. */
export class Address {
  #after = 0;
  #until = 0;
  #askAt = 0;
  /** @type {Renewed | undefined} What was rendered into a page may be old: that is not told. */
  renewed;

  /**
   * @param {string} url
   * @param {string} renewUrl What answers with a fresh one; empty: this one stays good.
   * @param {number} seconds How long the URL is good.
   * @throws {SyntaxError}
   */
  constructor(url, renewUrl, seconds) {
    try {
      this.url = new URL(url, document.baseURI);
    } catch {
      throw new SyntaxError(`src="${url}" is no URL.`);
    }
    this.renewUrl = renewUrl;
    this.#note(lasting(seconds));
  }

  /** Whether it should have been renewed: timers stop in a sleeping computer. */
  get isDue() {
    return this.renewUrl !== "" && Date.now() >= this.#askAt;
  }

  /** The milliseconds until it is worth asking whether it is due. */
  get wait() {
    return Math.min(this.#askAt - Date.now(), MAX_WAIT_MS);
  }

  /** Ask again before long. */
  postpone() {
    this.#askAt = Date.now() + this.#after / 4;
  }

  /** Do not ask again: the server has refused. */
  giveUp() {
    this.#askAt = Infinity;
  }

  /**
   * Use what the server has answered.
   * @param {{url: string, renew_url?: string, renew_after: number}} answer
   */
  renew({ url, renew_url = this.renewUrl, renew_after }) {
    this.#use({ url, renewUrl: renew_url, ...lasting(renew_after) });
  }

  /** Use what another tab has renewed, if that is good for longer. @param {Renewed} [renewed] */
  keep(renewed) {
    if (this.renewUrl && renewed && renewed.until > this.#until) {
      this.#use(renewed);
    }
  }

  /** @param {Renewed} renewed */
  #use(renewed) {
    this.url = new URL(renewed.url, document.baseURI);
    this.renewUrl = renewed.renewUrl;
    this.#note(renewed);
    this.renewed = renewed;
  }

  /** @param {{after: number, until: number}} times */
  #note({ after, until }) {
    this.#after = after;
    this.#until = this.#askAt = until;
  }
}

/** @param {number} seconds */
function lasting(seconds) {
  const after = 1_000 * (seconds > 0 ? seconds : DEFAULT_SECONDS);
  return { after, until: Date.now() + after };
}
