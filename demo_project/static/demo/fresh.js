// Marks what comes into a list while its reader looks on. The stylesheet lets it glow.

const observer = new MutationObserver((changes) => {
  for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
    node.classList?.add("fresh");
  }
});
for (const list of document.querySelectorAll("[aria-live]")) {
  observer.observe(list, { childList: true });
}
