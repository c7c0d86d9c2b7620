/** @file The last hour, as the server has kept it and as it goes on. */

/**
 * @typedef {object} Kept What the server has kept.
 * @property {number} start The beginning of the first step, in seconds of Unix time.
 * @property {number} step The length of each, in seconds.
 * @property {Record<string, (number | null)[]>} series The averages of the steps.
 */

/** @typedef {Record<string, number> & {at: number}} Figures Those of one moment. */

/** Averages in steps of equal length, the last of which is not over yet. */
export class Series {
  #start;
  #step;
  #length;
  #values;
  /** How many figures the last step is the average of. */
  #count = 0;
  /** @type {Partial<Figures>} The last ones. */
  latest = {};

  /** @param {Kept} kept */
  constructor({ start, step, series }) {
    /** @type {[string, (number | null)[]][]} */
    const values = Object.entries(series).map(([name, steps]) => [name, [...steps]]);
    this.#start = start;
    this.#step = step;
    this.#values = new Map(values);
    this.#length = values[0]?.[1].length ?? 0;
  }

  /** The beginnings of the steps. */
  get times() {
    return Array.from({ length: this.#size }, (_, index) => this.#start + index * this.#step);
  }

  /** @param {string} name @returns {(number | null)[]} */
  values(name) {
    return this.#values.get(name) ?? [];
  }

  /** When the first of the steps in which there was anybody begins; undefined if there was none. */
  get beginning() {
    const [values] = this.#values.values();
    const first = values?.findIndex((value) => value !== null) ?? -1;
    return first < 0 ? undefined : this.#start + first * this.#step;
  }

  get #size() {
    return this.#values.values().next().value?.length ?? 0;
  }

  /**
   * Take over what the server has kept meanwhile: it knows better than what was seen here.
   * @param {Kept} newer
   */
  replace({ start, series }) {
    for (const [name, steps] of Object.entries(series)) {
      steps.forEach((value, index) => this.#set(name, start + index * this.#step, value));
    }
    this.#trim();
  }

  /**
   * Take the figures of a moment into the average of its step.
   * @param {Figures} figures
   */
  add(figures) {
    const index = this.#index(figures.at);
    this.latest = figures;
    if (index < 0) {
      return;
    }
    this.#count = index < this.#size ? this.#count : 0;
    const isLast = index >= this.#size - 1;
    for (const [name, values] of this.#values) {
      const before = values[index] ?? 0;
      const mean = before + (figures[name] - before) / (this.#count + 1);
      if (isLast && name in figures) {
        this.#set(name, figures.at, mean);
      }
    }
    this.#count += 1;
    this.#trim();
  }

  /** @param {number} at */
  #index(at) {
    return Math.floor((at - this.#start) / this.#step);
  }

  /** @param {string} name @param {number} at @param {number | null} value */
  #set(name, at, value) {
    const values = this.#values.get(name);
    const index = this.#index(at);
    if (values && index >= 0) {
      while (values.length < index) {
        values.push(null);
      }
      values[index] = value;
    }
  }

  #trim() {
    const excess = Math.max(0, this.#size - this.#length - 1);
    this.#start += excess * this.#step;
    for (const values of this.#values.values()) {
      values.splice(0, excess);
    }
  }
}
