// Changes the announcements as they are changed. The server has made, and escaped, their HTML.

import { connect, fresh } from "./live.js";

const board = document.getElementById("announcements");
const find = (pk) => document.getElementById(`announcement-${pk}`);

connect({
  board({ html }) {
    board.innerHTML = html;
  },
  saved({ pk, html }) {
    const article = fresh(html);
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
