// Says at the top of the page how its streams are doing; the first state here that one has counts.

const LABELS = {
  closed: "Closed",
  reconnecting: "Reconnecting",
  connecting: "Connecting",
  polling: "Polling",
  paused: "Paused",
  open: "Live",
};
const streams = [...document.querySelectorAll("event-source")];
const connection = document.getElementById("connection");

document.addEventListener("statechange", () => {
  // An element that is not defined yet has no state.
  const states = streams.map((stream) => stream.getAttribute("state") ?? "connecting");
  const state = Object.keys(LABELS).find((known) => states.includes(known));
  connection.dataset.state = state;
  connection.textContent = LABELS[state];
});
