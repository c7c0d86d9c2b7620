/** @file What is left where no stream comes through: asking again and again. */

import { typeOf } from "./requests.js";

const PATIENCE_MS = 30_000;
/** After how many attempts at a stream polling begins. */
const ATTEMPTS = 3;

export class Polling {
  #seconds;
  #ask;
  #onAnswer;
  #failures = 0;
  /** @type {AbortController | undefined} */
  #request;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {number} seconds From an answer to the next request. 0: never ask.
   * @param {(signal: AbortSignal) => Promise<Response>} ask
   * @param {(text: string) => void} onAnswer
   */
  constructor(seconds, ask, onAnswer) {
    this.#seconds = seconds;
    this.#ask = ask;
    this.#onAnswer = onAnswer;
  }

  get isOn() {
    return this.#request !== undefined;
  }

  /** Note that the stream did not come through. The third time in a row polling begins. */
  fail() {
    this.#failures += 1;
    if (this.#failures >= ATTEMPTS) {
      this.start();
    }
  }

  start() {
    if (this.#seconds > 0 && !this.isOn) {
      this.#poll();
    }
  }

  /** Stop: the stream is there, or nobody wants it. */
  stop() {
    this.#failures = 0;
    clearTimeout(this.#timer);
    this.#request?.abort();
    this.#request = undefined;
  }

  async #poll() {
    const request = (this.#request = new AbortController());
    this.#timer = setTimeout(() => request.abort(), PATIENCE_MS);
    const text = await this.#answer(request.signal);
    if (this.#request !== request) {
      return; // Stopped meanwhile.
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#poll(), 1_000 * this.#seconds);
    if (text !== undefined) {
      this.#onAnswer(text);
    }
  }

  /** @param {AbortSignal} signal */
  async #answer(signal) {
    try {
      const response = await this.#ask(signal);
      if (isOurs(response)) {
        return await response.text();
      }
      await response.body?.cancel(); // A stream would never end.
      return undefined;
    } catch {
      return undefined; // The next one may get through.
    }
  }
}

/**
 * Whether it is the view's answer, and none of a page to log in or of a network's own.
 * @param {Response} response
 */
function isOurs(response) {
  const isJSON = /^application\/(.+\+)?json\b/i.test(typeOf(response));
  return response.status === 200 && !response.redirected && isJSON;
}
