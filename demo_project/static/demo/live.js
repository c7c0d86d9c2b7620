// The page's one event stream: its address is <body data-stream>, its state is shown in #connection.

const LABELS = { connecting: "Connecting", open: "Live", closed: "Closed", done: "Done" };

function show(state) {
  const element = document.getElementById("connection");
  element.dataset.state = state;
  element.textContent = LABELS[state];
}

// Open the stream; each listener is called with the data of the events of its name: those of the
// first kind with JSON, parsed, those of the second with text, HTML say, as it is. Returns a
// function that closes the stream for good.
export function connect(listeners = {}, textListeners = {}) {
  const source = new EventSource(document.body.dataset.stream);
  source.addEventListener("open", () => show("open"));
  source.addEventListener("error", () => {
    // A browser connects again by itself, unless the answer was an error.
    show(source.readyState === EventSource.CLOSED ? "closed" : "connecting");
  });
  // Events were missed for good, since the server was restarted, say: have the page made anew.
  source.addEventListener("reset", () => location.reload());
  for (const [type, listener] of Object.entries({ broadcast: toast, ...listeners })) {
    source.addEventListener(type, (event) => listener(JSON.parse(event.data)));
  }
  for (const [type, listener] of Object.entries(textListeners)) {
    source.addEventListener(type, (event) => listener(event.data));
  }
  return () => {
    source.close();
    show("done");
  };
}

// Make the one element of the server's HTML, marked as new.
export function fresh(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const element = template.content.firstElementChild;
  element.classList.add("fresh");
  return element;
}

// Show a broadcast in a corner of the page, for a while.
function toast({ from, text }) {
  const element = document.createElement("p");
  const name = document.createElement("b");
  name.textContent = from;
  element.append(name, ` ${text}`);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), 8000);
}

// How many streams the server has open, wherever the page says so.
export function showOpenStreams({ open }) {
  for (const element of document.querySelectorAll("[data-open-streams]")) {
    element.textContent = open;
  }
  for (const element of document.querySelectorAll("[data-open-streams-label]")) {
    element.textContent = open === 1 ? "stream is open" : "streams are open";
  }
}
