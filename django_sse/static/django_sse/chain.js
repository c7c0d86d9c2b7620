/** @file What a leading tab has told of late. */

/** @import { StreamEvent } from "./types.js" */

/** @typedef {StreamEvent & {before: string | null}} Told An event, and the id before it. */

const MAX_EVENTS = 500;
const MAX_CHARACTERS = 500_000;

/** Each event begins where the one before has ended. */
export class Chain {
  /** @type {Told[]} */
  #told = [];
  #characters = 0;

  /** @param {Told} told */
  add(told) {
    // What is in no history is for those who are there when it comes.
    if (told.before && told.before !== told.lastEventId) {
      this.#characters += told.data.length;
      this.#told.push(told);
      while (this.#told.length > MAX_EVENTS || this.#characters > MAX_CHARACTERS) {
        this.#characters -= this.#told.shift()?.data.length ?? 0;
      }
    }
  }

  clear() {
    this.#told = [];
    this.#characters = 0;
  }

  /**
   * The events from a place on; none where that is not kept.
   * @param {string | null} at
   */
  since(at) {
    const index = this.#told.findIndex(({ before }) => before === at);
    return index < 0 ? [] : this.#told.slice(index);
  }
}
