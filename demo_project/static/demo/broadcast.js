// Lists what is broadcast, and broadcasts.

import { sendInPlace } from "./forms.js";
import { connect, showOpenStreams } from "./live.js";

connect({
  streams: showOpenStreams,
  broadcast({ from, text }) {
    const item = document.createElement("li");
    const name = document.createElement("b");
    name.textContent = from;
    item.append(name, ` ${text}`);
    item.classList.add("fresh");
    document.getElementById("messages").prepend(item);
  },
});

sendInPlace(
  document.getElementById("send"),
  ({ streams }) => `Reached ${streams} ${streams === 1 ? "stream" : "streams"} of this worker.`,
);
