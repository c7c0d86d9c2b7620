// Shows a user's notes as they come. The server has made, and escaped, their HTML.

import { sendInPlace } from "./forms.js";
import { connect, fresh } from "./live.js";

const notes = document.getElementById("notes");

connect(
  {
    connected({ html }) {
      notes.innerHTML = html;
    },
  },
  {
    "note.created"(html) {
      notes.prepend(fresh(html));
    },
  },
);

sendInPlace(document.getElementById("send"), ({ recipient }) => `Sent to ${recipient}.`);
