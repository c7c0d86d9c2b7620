/** @file The charts of the dashboard. What else is on it, its `<event-source>` swaps. */

import { Chart } from "./chart.js";
import { makeClock, makeFormat } from "./format.js";
import { Series } from "./series.js";

/** @param {HTMLElement} source @param {HTMLElement} data @param {HTMLElement} place */
function start(source, data, place) {
  const language = document.documentElement.lang || "en";
  const clock = makeClock(language, place.dataset.timezone ?? "UTC");
  const series = new Series(JSON.parse(data.textContent ?? ""));
  const figures = /** @type {NodeListOf<HTMLElement>} */ (place.querySelectorAll(".sse-chart"));
  const charts = [...figures].map((figure) => {
    return new Chart(figure, makeFormat(figure.dataset.kind ?? "count", language), clock);
  });
  const show = () => charts.forEach((chart) => chart.show(series));
  show();
  source.addEventListener("history", (event) => {
    series.replace(/** @type {CustomEvent} */ (event).detail);
    show();
  });
  source.addEventListener("figures", (event) => {
    series.add(/** @type {CustomEvent} */ (event).detail);
    show();
  });
  whenColoursChange(() => charts.forEach((chart) => chart.redraw()));
}

/** @param {() => void} redraw */
function whenColoursChange(redraw) {
  const options = { attributeFilter: ["data-theme", "class"] };
  new MutationObserver(redraw).observe(document.documentElement, options);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

const [source, data, place] = ["#sse-live", "#sse-history-data", ".sse-charts"].map((selector) => {
  return /** @type {HTMLElement | null} */ (document.querySelector(selector));
});
if (source && data && place) {
  document.querySelector("#sse-hour-details")?.removeAttribute("open");
  start(source, data, place);
}
