// Follows one build, to its end.

const get = (id) => document.getElementById(id);
const stream = get("build");
const log = get("log");
let shown = 0; // lines

function append(text) {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(text);
  if (isAtEnd) {
    log.scrollTop = log.scrollHeight;
  }
}

function showProgress({ state, done, total, seconds }) {
  get("state").dataset.state = state;
  get("state").textContent = state;
  get("progress").dataset.state = state;
  get("progress").value = total ? (100 * done) / total : 0;
  get("done").textContent = done;
  get("total").textContent = total;
  get("seconds").textContent = seconds.toFixed(1);
  if (state !== "running") {
    stream.close(); // The server ends the stream too; without this the element would ask again.
  }
}

// The build as it was when the stream began; after a lost connection, as it has become.
function showBuild({ detail: build }) {
  append(build.log.slice(shown).map((line) => `${line}\n`).join(""));
  shown = build.log.length;
  showProgress(build);
}

stream.addEventListener("state", showBuild);
stream.addEventListener("message", showBuild); // The same, asked for, where no stream comes through.
stream.addEventListener("line", ({ detail: build }) => {
  if (build.number > shown) {
    append(build.text);
    shown = build.number;
  }
  showProgress(build);
});
stream.addEventListener("done", ({ detail: build }) => showProgress(build));
