/** @file One chart, drawn by uPlot in the colours of the page. */

/** @typedef {import("./series.js").Series} Series */
/** @typedef {import("./format.js").Format} Format */

const HEIGHT = 130;
// How much is shown, in seconds: a day's first minutes are not pressed to the edge.
const LEAST = 600;
const MOST = 3600;
// Steps of an axis: nobody has half a stream.
const WHOLE = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((one) => one * 10 ** power)).flat();

/** A chart of one series or two of the last hour; all on a page have one cursor. */
export class Chart {
  #figure;
  #names;
  #format;
  #clock;
  #plot;
  #style;
  /** @type {Partial<Record<string, number>>} */
  #latest = {};

  /**
   * @param {HTMLElement} figure
   * @param {Format} format
   * @param {(seconds: number) => string} clock
   */
  constructor(figure, format, clock) {
    this.#figure = figure;
    this.#names = (figure.dataset.series ?? "").split(" ");
    this.#format = format;
    this.#clock = clock;
    this.#style = getComputedStyle(figure);
    const place = /** @type {HTMLElement} */ (figure.querySelector(".sse-plot"));
    const { uPlot } = /** @type {any} */ (globalThis);
    this.#plot = new uPlot(this.#options(place), [[], ...this.#names.map(() => [])], place);
    new ResizeObserver(() => this.#resize(place)).observe(place);
  }

  /** @param {Series} series */
  show(series) {
    const { times } = series;
    this.#plot.setData([times, ...this.#names.map((name) => series.values(name))], false);
    const end = times.at(-1) ?? Date.now() / 1000;
    const span = Math.min(Math.max(end - (series.beginning ?? end), LEAST), MOST);
    this.#plot.setScale("x", { min: end - span, max: end });
    this.#latest = series.latest;
    this.#tell();
  }

  /** Draw anew, as the colours of the page have changed. */
  redraw() {
    this.#plot.redraw(false);
  }

  /** @param {HTMLElement} place */
  #resize(place) {
    if (place.clientWidth) {
      this.#plot.setSize({ width: place.clientWidth, height: HEIGHT });
    }
  }

  /** @param {string} name @returns {string} The colour that the style sheet has for something. */
  #colour(name) {
    return this.#style.getPropertyValue(`--sse-${name}`).trim();
  }

  /** @param {HTMLElement} place */
  #options(place) {
    return {
      width: place.clientWidth || 300,
      height: HEIGHT,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { size: 7, width: 2 },
        sync: { key: "django-sse" },
      },
      scales: { y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ most) => [0, ceiling(most)] } },
      series: [{}, ...this.#names.map((_, index) => this.#line(index))],
      axes: this.#axes(),
      hooks: { setCursor: [() => this.#tell()] },
    };
  }

  /** @param {number} index Of the second, the line is dashed: colours are not all. */
  #line(index) {
    return {
      width: 1.5,
      dash: index ? [5, 3] : undefined,
      stroke: () => this.#colour(index ? "line-2" : "line"),
      fill: () => (index ? "" : this.#colour("fill")),
      // Of a line that is yet to be one.
      points: { size: 5, show: (/** @type {any} */ plot) => isShort(plot.data[index + 1]) },
      spanGaps: false,
    };
  }

  #axes() {
    const common = {
      stroke: () => this.#colour("axis"),
      grid: { stroke: () => this.#colour("grid"), width: 1 },
      ticks: { show: false },
      font: `11px ${this.#style.fontFamily}`,
    };
    const write = (/** @type {(value: number) => string} */ one) => (/** @type {any} */ _, /** @type {number[]} */ all) => all.map(one);
    return [
      { ...common, size: 24, space: 60, incs: [60, 120, 300, 600, 900], values: write(this.#clock) },
      { ...common, size: 54, space: 28, incs: WHOLE, values: write(this.#format.tick) },
    ];
  }

  /** Write the values at the cursor, or else the last ones. */
  #tell() {
    const { data, cursor } = this.#plot ?? {};
    if (!data) {
      return; // It is being made.
    }
    const at = cursor.idx ?? null;
    this.#names.forEach((name, index) => {
      const values = data[index + 1];
      const last = () => values.findLast((/** @type {number | null} */ one) => one !== null);
      const value = at === null ? (this.#latest[name] ?? last()) : values[at];
      const text = value === null || value === undefined ? "–" : this.#format.value(value);
      write(this.#figure.querySelector(`[data-value="${name}"]`), text);
    });
    write(this.#figure.querySelector("[data-at]"), at === null ? "" : this.#clock(data[0][at]));
  }
}

/** @param {(number | null)[]} values */
function isShort(values) {
  return values.filter((value) => value !== null).length < 3;
}

/** @param {Element | null} element @param {string} text */
function write(element, text) {
  if (element && element.textContent !== text) {
    element.textContent = text;
  }
}

/**
 * The end of the axis for values up to *most*: a little above, and never so low that a little
 * looks like much.
 * @param {number | null} most
 */
export function ceiling(most) {
  const least = Math.max(most ?? 0, 1.5);
  const power = 10 ** Math.floor(Math.log10(least));
  const digit = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((one) => one * power >= least * 1.05) ?? 15;
  return digit * power;
}
