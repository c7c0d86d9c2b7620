/** @file How figures are written: as the server writes them. */

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/**
 * @typedef {object} Format
 * @property {(value: number) => string} value In full.
 * @property {(value: number) => string} tick At an axis.
 */

/**
 * @param {string} kind "count", "rate" or "size"; the last two are by the second.
 * @param {string} language
 * @returns {Format}
 */
export function makeFormat(kind, language) {
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const fine = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const short = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
  const rounded = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  /** @param {number} value @param {Intl.NumberFormat} some What writes one that is small. */
  const size = (value, some = fine) => {
    const unit = value < 999.5 ? 0 : Math.min(Math.floor(Math.log10(value * 1.0005) / 3), SIZES.length - 1);
    const scaled = value / 1000 ** unit;
    return `${(unit && scaled < 99.95 ? some : whole).format(scaled)}\u00a0${SIZES[unit]}`;
  };
  if (kind === "size") {
    return { value: (value) => `${size(value)}/s`, tick: (value) => (value ? size(value, rounded) : "0") };
  }
  const isSmall = (/** @type {number} */ value) => value > 0 && value < 10;
  if (kind === "rate") {
    return {
      value: (value) => `${(isSmall(value) ? fine : whole).format(value)}/s`,
      tick: (value) => short.format(value),
    };
  }
  return { value: (value) => whole.format(value), tick: (value) => short.format(value) };
}

/**
 * Return a function that writes a time of day, in seconds of Unix time, as the server's pages do.
 * @param {string} language
 * @param {string} timeZone
 * @returns {(seconds: number) => string}
 */
export function makeClock(language, timeZone) {
  /** @type {Intl.DateTimeFormatOptions} */
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  let format = new Intl.DateTimeFormat(language, options);
  try {
    format = new Intl.DateTimeFormat(language, { ...options, timeZone });
  } catch {
    // A name that this browser does not know: then in its own zone.
  }
  return (seconds) => format.format(seconds * 1000);
}
