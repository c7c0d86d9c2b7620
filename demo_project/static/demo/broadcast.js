// Lists what is broadcast, and broadcasts.

import { sendInPlace } from "./forms.js";

document.getElementById("lobby").addEventListener("broadcast", ({ detail: { from, text } }) => {
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = from;
  item.append(name, ` ${text}`);
  document.getElementById("messages").prepend(item);
});

sendInPlace(
  document.getElementById("send"),
  ({ streams }) => `Reached ${streams} ${streams === 1 ? "stream" : "streams"} of this worker.`,
);
