// Shows every <time> in the reader's own time zone, those that come later too.

const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function localize() {
  for (const element of document.querySelectorAll("time:not([data-local])")) {
    element.dataset.local = "";
    element.textContent = FORMAT.format(new Date(element.dateTime));
  }
}

new MutationObserver(localize).observe(document.body, { childList: true, subtree: true });
localize();
