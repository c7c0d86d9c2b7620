// Keeps the rows of the builds' table up to date.

const stream = document.getElementById("builds");

stream.addEventListener("progress", ({ detail: { pk, state, done, total, seconds } }) => {
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
});

// Something was missed for good.
stream.addEventListener("reset", () => location.reload());
