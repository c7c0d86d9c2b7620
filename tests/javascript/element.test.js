import assert from "node:assert/strict";
import { afterEach, before, beforeEach, mock, test } from "node:test";

import { FakeEventSource, install, pass, settled, uninstall } from "./fakes.js";

/** @type {ReturnType<typeof install>} */
let browser;
let EventSourceElement;
let ServerSentEvent;

before(async () => {
  install(); // A class that extends HTMLElement has to have one.
  globalThis.customElements = { get: () => undefined, define: mock.fn() };
  const path = "../../django_sse/static/django_sse/event-source.js";
  ({ EventSourceElement, ServerSentEvent } = await import(path));
  // So that it comes soon when it is asked for.
  await import("../../django_sse/static/django_sse/shared-connection.js");
  uninstall();
});

let elements;
beforeEach(() => {
  browser = install();
  elements = [];
});
afterEach(() => {
  elements.forEach((element) => element.leave());
  uninstall();
});

const last = () => FakeEventSource.last;
const count = () => FakeEventSource.made.length;

/** Make an element outside the document. */
function make(attributes = {}) {
  const element = new EventSourceElement();
  elements.push(element);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  return element;
}

/** Make one in the document. */
const place = (attributes = {}) => make({ src: "/sse/", ...attributes }).enter();

/** Keep what is dispatched from *element*. */
function keep(element, ...types) {
  const kept = [];
  types.forEach((type) => element.addEventListener(type, (event) => kept.push(event)));
  return kept;
}

// As an element of the platform.

test("the module defines the element, once", async () => {
  const { define } = globalThis.customElements;
  assert.deepEqual(define.mock.calls[0].arguments, ["event-source", EventSourceElement]);
  globalThis.customElements.get = () => EventSourceElement;
  await import("../../django_sse/static/django_sse/event-source.js?another-name");
  assert.equal(define.mock.callCount(), 1);
});

test("a new element has no attributes and no stream: one may be made by createElement()", () => {
  assert.deepEqual(make().attributes, []);
  make({ src: "/sse/" });
  assert.equal(count(), 0);
});

test("opens in the document, once, whatever the number of attributes", async () => {
  place({ events: "a", "pause-hidden": "", poll: "5" });
  await settled();
  assert.equal(count(), 1);
});

test("without src nothing happens, until it is set", async () => {
  const element = make().enter();
  await settled();
  assert.equal(count(), 0);
  assert.equal(element.getAttribute("state"), "closed");
  element.src = "/sse/";
  element.withCredentials = true;
  await settled();
  assert.equal(count(), 1);
  assert.equal(last().withCredentials, true);
});

test("properties reflect attributes, and have the platform's defaults", () => {
  const element = make();
  const names = EventSourceElement.observedAttributes.map((name) =>
    name.replace(/-(.)/g, (_, letter) => letter.toUpperCase()),
  );
  const values = Object.fromEntries(names.map((name) => [name, element[name]]));
  assert.deepEqual(values, {
    src: "",
    events: "",
    lastEventId: "",
    target: "",
    swap: "",
    parse: "auto",
    reloadUrl: "",
    shared: false,
    transport: "eventsource",
    pauseHidden: false,
    poll: 0,
    withCredentials: false,
    renewUrl: "",
    renewAfter: 0,
  });
  Object.assign(element, { src: "x", parse: "json", shared: true, poll: 1.5, events: "a b" });
  assert.deepEqual(Object.fromEntries(element.attributes), {
    src: "x",
    parse: "json",
    shared: "",
    poll: "1.5",
    events: "a b",
  });
  assert.equal(element.src, "https://example.org/shop/x");
  element.shared = false;
  assert.equal(element.hasAttribute("shared"), false);
});

test("what an attribute must not be reads as its default", () => {
  const element = make({ parse: "xml", transport: "", poll: "often", "renew-after": "-1" });
  assert.equal(element.parse, "auto");
  assert.equal(element.transport, "eventsource");
  assert.equal(element.poll, 0);
  assert.equal(element.renewAfter, 0);
});

test("properties that were set before the definition are taken over", () => {
  const element = make({ src: "/sse/" });
  const options = { method: "POST" };
  for (const [name, value] of Object.entries({ events: "early", fetchOptions: options })) {
    Object.defineProperty(element, name, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }
  element.enter();
  assert.equal(Object.hasOwn(element, "events"), false);
  assert.equal(element.getAttribute("events"), "early");
  assert.equal(element.fetchOptions, options);
  assert.ok(last().heard.has("early"));
});

test("has the constants of EventSource, and its readyState", () => {
  const element = make({ src: "/sse/" });
  assert.deepEqual(
    [EventSourceElement.CONNECTING, EventSourceElement.OPEN, EventSourceElement.CLOSED],
    [element.CONNECTING, element.OPEN, element.CLOSED],
  );
  assert.equal(element.readyState, EventSourceElement.CLOSED);
  element.enter();
  assert.equal(element.readyState, EventSourceElement.CONNECTING);
  last().opens();
  assert.equal(element.readyState, EventSourceElement.OPEN);
  last().drops();
  assert.equal(element.readyState, EventSourceElement.CONNECTING);
});

test("removed it closes; put back, or moved, it goes on from its last event id", async () => {
  const element = place({ "last-event-id": "id1" });
  assert.equal(last().param("last_event_id"), "id1");
  last().opens().sends("message", "x", "id2");
  element.leave();
  assert.equal(element.state, "closed");
  assert.deepEqual(FakeEventSource.open, []);
  element.enter();
  await settled();
  assert.equal(count(), 2);
  assert.equal(last().param("last_event_id"), "id2");
});

test("moved by moveBefore() it stays open", () => {
  const element = place();
  element.connectedMoveCallback();
  assert.equal(count(), 1);
});

test("outside a document it does not open", () => {
  const element = make({ src: "/sse/" });
  element.open();
  assert.equal(count(), 0);
});

test("several are on one page, each with its stream", () => {
  const [first, second] = [place({ src: "/a/" }), place({ src: "/b/" })];
  const kept = keep(first, "message");
  last().opens().sends("message", "b");
  assert.equal(second.state, "open");
  assert.equal(first.state, "connecting");
  assert.deepEqual(kept, []);
});

test("a clone is one of its own, that begins where the page did", () => {
  const element = place({ "last-event-id": "id1" });
  last().opens().sends("message", "x", "id2");
  const twin = element.clone();
  elements.push(twin);
  assert.equal(twin.state, "closed");
  twin.enter();
  assert.equal(twin.getAttribute("state"), "connecting");
  assert.equal(last().param("last_event_id"), "id1");
  assert.equal(element.state, "open");
});

// What attributes do while it is open.

test("another src is another stream: it begins anew", async () => {
  const element = place({ "last-event-id": "id1" });
  last().opens().sends("message", "x", "id2");
  element.src = "/other/";
  await settled();
  assert.equal(FakeEventSource.open.length, 1);
  assert.equal(last().url.pathname, "/other/");
  assert.equal(last().param("last_event_id"), null);
  assert.equal(element.lastEventId, "");
});

for (const names of [
  ["src", "last-event-id"],
  ["last-event-id", "src"],
]) {
  test(`${names.join(" and ")} set together: begins there`, async () => {
    const element = place({ "last-event-id": "id1" });
    const values = { src: "/sse/?token=new", "last-event-id": "id9" };
    names.forEach((name) => element.setAttribute(name, values[name]));
    await settled();
    assert.equal(count(), 2);
    assert.equal(last().param("last_event_id"), "id9");
  });
}

test("last-event-id alone does not disturb a stream", async () => {
  const element = place();
  last().opens().sends("message", "x", "id2");
  element.setAttribute("last-event-id", "id1");
  await settled();
  assert.equal(count(), 1);
  assert.equal(element.lastEventId, "id2");
});

test("the same stream by other means goes on from its last event id", async () => {
  const element = place();
  last().opens().sends("message", "x", "id2");
  element.withCredentials = true;
  await settled();
  assert.equal(count(), 2);
  assert.equal(last().param("last_event_id"), "id2");
});

test("what has been renewed stays so when another connection is made, and not of another stream", async () => {
  const element = place({ "renew-url": "/token/", "renew-after": "240" });
  await settled();
  last().opens().beats(1_000);
  await pass(240);
  await browser.server.answers(200, { url: "/sse/?token=new", renew_after: 240 });
  element.poll = 5;
  await settled();
  assert.equal(count(), 2);
  assert.equal(last().param("token"), "new");
  element.src = "/sse/?token=another";
  await settled();
  assert.equal(last().param("token"), "another");
});

test("a src that is no URL is reported, and an error; another one opens", async () => {
  const element = make({ src: "http://[" });
  const errors = keep(element, "error");
  element.enter();
  await settled();
  assert.equal(element.state, "closed");
  assert.match(globalThis.reportError.mock.calls[0].arguments[0].message, /src="http:\/\/\[" is no URL/);
  assert.deepEqual(errors.map(({ detail }) => detail), [{ status: 0, willRetry: false }]);
  element.src = "/sse/";
  await settled();
  assert.equal(count(), 1);
  element.src = "http://[";
  await settled();
  assert.equal(element.state, "closed");
  assert.equal(FakeEventSource.open.length, 0);
});

test("the value of shared is part of the name by which tabs share", async () => {
  const names = [];
  const locks = { request: (name) => new Promise(() => names.push(name)) };
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  for (const shared of ["", "reader-1", "reader-2", "reader-1"]) {
    const element = place({ shared });
    assert.equal(element.shared, true);
    await settled();
  }
  assert.equal(new Set(names).size, 3);
  assert.equal(names[1], names[3]);
});

for (const attributes of [{}, { shared: "" }]) {
  test(`heartbeats are not dispatched, whoever listens${"shared" in attributes ? ", nor shared" : ""}`, async () => {
    const element = place({ ...attributes, events: "heartbeat" });
    const kept = keep(element, "heartbeat", "message");
    await settled();
    last().opens().beats(10, "id1").sends("message", "1");
    assert.deepEqual(kept.map(({ type }) => type), ["message"]);
  });
}

test("src written as it was changes nothing", async () => {
  const element = place();
  element.setAttribute("src", "/sse/");
  await settled();
  assert.equal(count(), 1);
});

test("without src it closes", async () => {
  const element = place();
  element.removeAttribute("src");
  await settled();
  assert.equal(element.state, "closed");
  assert.deepEqual(FakeEventSource.open, []);
});

test("closed by the page it stays closed, until open(), or another src", async () => {
  const element = place();
  last().opens().sends("message", "x", "id2");
  element.close();
  element.poll = 5;
  await settled();
  assert.equal(count(), 1);
  element.open();
  assert.equal(last().param("last_event_id"), "id2");
  element.close();
  element.src = "/other/";
  await settled();
  assert.equal(count(), 3);
});

// Shared. Its module comes when it is asked for; without Web Locks it is an ordinary connection.

test("shared, it opens when the module has come", async () => {
  const element = place({ shared: "", "last-event-id": "id1" });
  assert.equal(element.lastEventId, "id1");
  await settled();
  assert.equal(count(), 1);
  assert.equal(last().param("last_event_id"), "id1");
});

test("what changes until the module has come makes no second stream", async () => {
  const element = place({ shared: "", "last-event-id": "id1" });
  element.poll = 5;
  await settled();
  assert.equal(FakeEventSource.open.length, 1);
  assert.equal(last().param("last_event_id"), "id1");
});

test("closed until the module has come, it does not open", async () => {
  const element = place({ shared: "" });
  element.close();
  await settled();
  assert.equal(count(), 0);
  element.open();
  assert.equal(count(), 1);
});

// Which events are heard.

test("hears what is always heard, is named in events and swap, and is listened to", () => {
  const element = place({ events: "a, b\n c", swap: "saved: none; gone: delete #x" });
  element.addEventListener("listened", () => {});
  const always = ["message", "reset", "broadcast", "heartbeat"];
  assert.deepEqual(
    [...last().heard].sort(),
    [...always, "a", "b", "c", "saved", "gone", "listened"].sort(),
  );
  element.events = "d";
  element.swap = "more: none";
  assert.ok(last().heard.has("d") && last().heard.has("more"));
  assert.equal(count(), 1);
});

test("a name that was taken out of events is not dispatched any more", () => {
  const element = place({ events: "a b" });
  const dispatch = mock.method(element, "dispatchEvent");
  last().opens();
  element.events = "b";
  dispatch.mock.resetCalls();
  last().sends("a", "1").sends("b", "2");
  assert.deepEqual(
    dispatch.mock.calls.map(({ arguments: [event] }) => event.type),
    ["b"],
  );
});

test("the element's own names are not heard from the server", () => {
  const element = place({ events: "open error statechange" });
  const kept = keep(element, "open", "error");
  last().opens().sends("error", "1").sends("open", "2");
  assert.equal(last().heard.has("statechange"), false);
  assert.deepEqual(
    kept.map(({ constructor }) => constructor),
    [CustomEvent],
  );
});

// What is dispatched.

test("an event has its name, parsed data, the text, and its id; it bubbles", () => {
  const element = place({ events: "status" });
  const kept = keep(element, "status");
  last().opens().sends("status", '{"ok":true}', "id1");
  const [event] = kept;
  assert.ok(event instanceof ServerSentEvent && event instanceof CustomEvent);
  assert.deepEqual(event.detail, { ok: true });
  assert.equal(event.data, '{"ok":true}');
  assert.equal(event.lastEventId, "id1");
  assert.ok(event.bubbles && event.composed && event.cancelable);
  assert.equal(element.lastEventId, "id1");
});

for (const [parse, data, detail] of [
  ["auto", "[1]", [1]],
  ["auto", "<p>1</p>", "<p>1</p>"],
  ["auto", "", ""],
  ["json", '"x"', "x"],
  ["text", "[1]", "[1]"],
]) {
  test(`parse="${parse}" of ${data || "nothing"}`, () => {
    const kept = keep(place({ parse }), "message");
    last().opens().sends("message", data);
    assert.deepEqual(kept[0].detail, detail);
  });
}

test('parse="json" of what is none: reported, and the next event comes', () => {
  const kept = keep(place({ parse: "json" }), "message");
  last().opens().sends("message", "<p>").sends("message", "1");
  assert.ok(globalThis.reportError.mock.calls[0].arguments[0] instanceof SyntaxError);
  assert.deepEqual(
    kept.map(({ detail }) => detail),
    [1],
  );
});

test("the state is reflected, and its changes are events; open is one of its own", () => {
  const element = make({ src: "/sse/" });
  const kept = keep(element, "statechange", "open");
  element.enter();
  assert.equal(element.getAttribute("state"), "connecting");
  last().opens();
  assert.equal(element.getAttribute("state"), "open");
  last().drops();
  assert.equal(element.state, "reconnecting");
  assert.deepEqual(
    kept.map(({ type, detail }) => [type, detail]),
    [
      ["statechange", { state: "connecting", previous: "closed" }],
      ["statechange", { state: "open", previous: "connecting" }],
      ["open", null],
      ["statechange", { state: "reconnecting", previous: "open" }],
    ],
  );
  assert.ok(kept.every(({ bubbles, composed }) => bubbles && composed));
});

test("a page that closes it as it opens is not told that it is open", () => {
  const element = place();
  const kept = keep(element, "open");
  element.addEventListener("statechange", () => element.close(), { once: true });
  last().opens();
  assert.equal(element.state, "closed");
  assert.deepEqual(kept, []);
});

test("an error says what and whether it goes on, and does not bubble", async () => {
  const kept = keep(place(), "error");
  last().fails();
  await settled();
  await browser.server.answers(403);
  assert.deepEqual(kept[0].detail, { status: 403, willRetry: false });
  assert.equal(kept[0].bubbles, false);
});

test("a malformed swap is an error of the attribute's, and the stream opens", () => {
  const element = make({ src: "/sse/" });
  assert.throws(() => element.setAttribute("swap", "explode everything"), SyntaxError);
  element.enter();
  assert.equal(count(), 1);
});

test("events that wait for a reload are not lost where the element is moved", async () => {
  const element = make({ src: "/sse/", swap: "none", target: "" });
  const kept = keep(element, "message");
  element.enter();
  last().opens().sends("reset", "unknown", "id1").sends("message", "1", "id2");
  element.leave();
  element.enter();
  assert.equal(last().param("last_event_id"), "id2");
  await settled();
  assert.deepEqual(
    kept.map(({ detail }) => detail),
    [1],
  );
});
