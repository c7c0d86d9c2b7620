// Shows the open orders as they change. The server has made, and escaped, their HTML.

import { connect, fresh } from "./live.js";

const board = document.getElementById("orders");
const find = (pk) => document.getElementById(`order-${pk}`);

// Put an order where it stood, or where it belongs: the newest is the first.
function show(html) {
  const order = fresh(html);
  const pk = Number(order.dataset.pk);
  find(pk)?.remove();
  const next = [...board.children].find((other) => Number(other.dataset.pk) < pk);
  board.insertBefore(order, next ?? null);
}

connect(
  {
    "order.deleted"({ id }) {
      find(id)?.remove();
    },
  },
  {
    orders(html) {
      board.innerHTML = html;
    },
    "order.created": show,
    "order.updated": show,
  },
);
