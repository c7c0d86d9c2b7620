// Keeps the rows of the builds' table up to date.

import { connect } from "./live.js";

connect({
  progress({ pk, state, done, total, seconds }) {
    const row = document.querySelector(`[data-build="${pk}"]`);
    if (!row) {
      location.reload(); // It was started on another page.
      return;
    }
    const badge = row.querySelector("[data-field=state]");
    badge.dataset.state = state;
    badge.textContent = state;
    row.querySelector("[data-field=files]").textContent = `${done} of ${total}`;
    row.querySelector("[data-field=seconds]").textContent = seconds.toFixed(1);
  },
});
