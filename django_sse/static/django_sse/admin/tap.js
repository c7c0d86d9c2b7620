/** @file The table of tapped events: it can be paused and cleared, and does not grow for ever. */

const MAX_ROWS = 300;

const source = /** @type {HTMLElement} */ (document.querySelector("#sse-source"));
const rows = /** @type {HTMLElement} */ (document.querySelector("#sse-tapped"));
const pause = /** @type {HTMLElement} */ (document.querySelector("#sse-pause"));
const clear = /** @type {HTMLElement} */ (document.querySelector("#sse-clear"));

const isPaused = () => pause.getAttribute("aria-pressed") === "true";

source.addEventListener("tapped", (event) => {
  if (isPaused()) {
    event.preventDefault(); // Nothing is swapped in.
  }
});

new MutationObserver(() => {
  while (rows.children.length > MAX_ROWS) {
    rows.lastElementChild?.remove();
  }
}).observe(rows, { childList: true });

pause.addEventListener("click", () => {
  pause.setAttribute("aria-pressed", String(!isPaused()));
});
clear.addEventListener("click", () => rows.replaceChildren());
pause.hidden = false;
clear.hidden = false;
