import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Delivery } from "../../django_sse/static/django_sse/delivery.js";
import { install, pass, settled, uninstall } from "./fakes.js";

/** @type {ReturnType<typeof install>} */
let browser;
let target;
let element;
let delivery;
let seen;

/** A template, whose content is known by its HTML alone. */
function template() {
  return {
    matches: () => false,
    set innerHTML(html) {
      this.content = {
        html,
        childNodes: html ? [html] : [],
        querySelector: () => null,
        append(...nodes) {
          this.html += nodes.join("");
        },
      };
    },
  };
}

beforeEach(() => {
  browser = install();
  browser.document.createElement = template;
  target = {
    html: "as rendered",
    replaceChildren({ html }) {
      this.html = html;
    },
    getRootNode: () => root,
  };
  const root = { querySelector: () => target, activeElement: null };
  const attributes = { swap: "", target: "#x", parse: "auto", reloadUrl: "/part/", id: "", isConnected: true };
  element = Object.assign(new EventTarget(), attributes, { getRootNode: () => root });
  seen = [];
  for (const type of ["message", "reset"]) {
    element.addEventListener(type, ({ detail }) => seen.push(detail));
  }
  delivery = new Delivery(element);
  delivery.configure();
});
afterEach(uninstall);

const take = (type, data) => delivery.take({ type, data, lastEventId: "" });

test("an event is dispatched, then swapped in", () => {
  element.addEventListener("message", () => assert.equal(target.html, "as rendered"));
  take("message", "<p>1</p>");
  assert.equal(target.html, "<p>1</p>");
});

test("a page that prevents the default swaps by itself", () => {
  element.addEventListener("message", (event) => event.preventDefault());
  take("message", "<p>1</p>");
  assert.equal(target.html, "as rendered");
});

test("with a malformed swap nothing is swapped", () => {
  element.swap = "explode everything";
  assert.throws(() => delivery.configure(), SyntaxError);
  take("message", "1");
  assert.equal(target.html, "as rendered");
  assert.deepEqual(seen, [1]);
});

test("a swap that fails is reported, and the next event comes", () => {
  target.replaceChildren = () => {
    throw new Error("broken");
  };
  take("message", "1");
  take("message", "2");
  assert.equal(globalThis.reportError.mock.callCount(), 2);
  assert.deepEqual(seen, [1, 2]);
});

test("a reset tells its reason, reloads the target, and lets later events wait", async () => {
  take("reset", "unknown");
  take("message", "<p>later</p>");
  assert.deepEqual(seen, ["unknown"]);
  assert.equal(browser.server.last.url.pathname, "/part/");
  await browser.server.answers(200, "<p>anew</p>");
  assert.deepEqual(seen, ["unknown", "<p>later</p>"]);
  assert.equal(target.html, "<p>later</p>");
});

test("a reset that the page handles reloads nothing", () => {
  element.addEventListener("reset", (event) => event.preventDefault());
  take("reset", "unknown");
  take("message", "1");
  assert.equal(browser.server.requests.length, 0);
  assert.deepEqual(seen, ["unknown", 1]);
});

test("without anything to swap there is nothing to reload", async () => {
  element.target = "";
  delivery.configure();
  take("reset", "unknown");
  take("message", "1");
  await settled();
  assert.equal(browser.server.requests.length, 0);
  assert.deepEqual(seen, ["unknown", 1]);
});

test("a second reset reloads again, in its turn", async () => {
  take("reset", "first");
  take("message", "1");
  take("reset", "second");
  take("message", "2");
  await browser.server.answers(200, "<p>anew</p>");
  assert.deepEqual(seen, ["first", 1, "second"]);
  await browser.server.answers(200, "<p>anew again</p>");
  assert.deepEqual(seen, ["first", 1, "second", 2]);
});

test("a reload that fails is tried again; meanwhile events wait", async () => {
  take("reset", "unknown");
  take("message", "1");
  await browser.server.isUnreachable();
  await pass(1);
  assert.deepEqual(seen, ["unknown"]);
  await browser.server.answers(200, "<p>anew</p>");
  assert.deepEqual(seen, ["unknown", 1]);
  assert.equal(globalThis.reportError.mock.callCount(), 0);
});

test("a reload that fails five times is reported, and events go on", async () => {
  take("reset", "unknown");
  take("message", "1");
  for (let attempt = 0; attempt < 5; attempt += 1) {
    assert.deepEqual(seen, ["unknown"]);
    await browser.server.answers(404);
    await pass(8);
  }
  assert.equal(browser.server.requests.length, 5);
  assert.equal(globalThis.reportError.mock.callCount(), 1);
  assert.deepEqual(seen, ["unknown", 1]);
});

test("a reload without an answer is given up after half a minute, and tried again", async () => {
  take("reset", "unknown");
  take("message", "1");
  await pass(29);
  assert.equal(browser.server.last.init.signal.aborted, false);
  await pass(2);
  assert.equal(browser.server.requests.length, 2);
  assert.equal(browser.server.requests[0].init.signal.aborted, true);
  await browser.server.answers(200, "<p>anew</p>");
  await pass(60);
  assert.equal(browser.server.requests.length, 2);
  assert.deepEqual(seen, ["unknown", 1]);
});

test("five reloads without an answer are reported, and events go on", async () => {
  take("reset", "unknown");
  take("message", "1");
  await pass(240);
  assert.equal(browser.server.requests.length, 5);
  const [call] = globalThis.reportError.mock.calls;
  assert.match(call.arguments[0].message, /no answer in time/);
  assert.deepEqual(seen, ["unknown", 1]);
});

for (const [when, prepare] of Object.entries({
  "under way": () => {},
  "waiting for its next try": () => browser.server.answers(500),
})) {
  test(`suspended while a reload is ${when}: done when resumed, nothing lost`, async () => {
    take("reset", "unknown");
    take("message", "1");
    await prepare();
    delivery.suspend();
    await pass(60);
    assert.equal(browser.server.requests.length, 1);
    assert.equal(browser.server.last.init.signal.aborted, true);
    assert.deepEqual(seen, ["unknown"]);
    delivery.resume();
    await browser.server.answers(200, "<p>anew</p>");
    assert.deepEqual(seen, ["unknown", 1]);
  });
}
