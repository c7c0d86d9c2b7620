// Adds a row for each note that anyone sends.

import { connect } from "./live.js";

connect({
  "note.created"({ sender, recipient, sent_at: sentAt }) {
    const row = document.createElement("tr");
    const time = document.createElement("time");
    time.dateTime = sentAt;
    for (const content of [sender, recipient, time]) {
      const cell = document.createElement("td");
      cell.append(content);
      row.append(cell);
    }
    row.classList.add("fresh");
    document.getElementById("traffic").prepend(row);
  },
});
