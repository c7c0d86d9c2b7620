// Follows one build, to its end.

import { connect } from "./live.js";

const get = (id) => document.getElementById(id);
const log = get("log");
let shown = 0; // lines

function showProgress({ state, done, total, seconds }) {
  get("state").dataset.state = state;
  get("state").textContent = state;
  get("progress").dataset.state = state;
  get("progress").value = total ? (100 * done) / total : 0;
  get("done").textContent = done;
  get("total").textContent = total;
  get("seconds").textContent = seconds.toFixed(1);
}

function append(text) {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(text);
  if (isAtEnd) {
    log.scrollTop = log.scrollHeight;
  }
}

const close = connect({
  // The build as it was when the stream began; after a lost connection, as it has become.
  state(build) {
    append(build.log.slice(shown).map((line) => `${line}\n`).join(""));
    shown = build.log.length;
    finish(build);
  },
  line(build) {
    if (build.number > shown) {
      append(build.text);
      shown = build.number;
    }
    showProgress(build);
  },
  done: finish,
});

function finish(build) {
  showProgress(build);
  if (build.state !== "running") {
    close(); // The server ends the stream too; without this a browser would ask again.
  }
}
