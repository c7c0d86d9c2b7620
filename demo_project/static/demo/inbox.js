// Shows a user's notes as they come. The server has made, and escaped, their HTML.

import { sendInPlace } from "./forms.js";
import { connect } from "./live.js";

const notes = document.getElementById("notes");

connect({
  connected({ html }) {
    notes.innerHTML = html;
  },
  note({ html }) {
    const template = document.createElement("template");
    template.innerHTML = html;
    template.content.firstElementChild.classList.add("fresh");
    notes.prepend(template.content);
  },
});

sendInPlace(document.getElementById("send"), ({ recipient }) => `Sent to ${recipient}.`);
