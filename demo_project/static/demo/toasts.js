// Shows what is broadcast in a corner of the page, for a while.

// Every stream brings it. One is enough to hear it once.
document.getElementById("lobby").addEventListener("broadcast", ({ detail: { from, text } }) => {
  const toast = document.createElement("p");
  const name = document.createElement("b");
  name.textContent = from;
  toast.append(name, ` ${text}`);
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), 8000);
});
