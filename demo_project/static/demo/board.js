// Changes the announcements as they are changed. The server has made, and escaped, their HTML.

import { connect } from "./live.js";

const board = document.getElementById("announcements");
const find = (pk) => document.getElementById(`announcement-${pk}`);

connect({
  board({ html }) {
    board.innerHTML = html;
  },
  saved({ pk, html }) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const article = template.content.firstElementChild;
    article.classList.add("fresh");
    const old = find(pk);
    if (old) {
      old.replaceWith(article);
    } else {
      board.prepend(article);
    }
  },
  deleted({ pk }) {
    find(pk)?.remove();
  },
});
