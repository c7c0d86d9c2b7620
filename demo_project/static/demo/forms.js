// Sends a form without leaving the page, and says in its <output> what came of it.

export function sendInPlace(form, describe) {
  const output = form.querySelector("output");
  form.addEventListener("submit", async (submission) => {
    submission.preventDefault();
    output.textContent = "";
    try {
      const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
      const answer = await response.json();
      if (response.ok) {
        form.querySelector("textarea").value = "";
      }
      output.textContent = response.ok
        ? describe(answer)
        : Object.values(answer.errors).flat().join(" ");
    } catch {
      // No connection, or a page in place of JSON: the session has ended, say.
      output.textContent = "That did not work. Load the page anew and try again.";
    }
  });
}
