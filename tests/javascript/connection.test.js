import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Address } from "../../django_sse/static/django_sse/address.js";
import { Connection } from "../../django_sse/static/django_sse/connection.js";
import { FakeEventSource, install, pass, settled, sleep, uninstall } from "./fakes.js";

/** @type {ReturnType<typeof install>} */
let browser;
/** @type {Connection} */
let connection;
let states;
let events;
let errors;

beforeEach(() => {
  browser = install();
});
afterEach(() => {
  connection?.close();
  uninstall();
});

/** Make a connection, and open it. */
function connect({ renewUrl = "", renewAfter = 0, ...options } = {}, handlers = {}) {
  [states, events, errors] = [[], [], []];
  connection = new Connection(
    {
      address: new Address("/sse/orders/?token=old", renewUrl, renewAfter),
      lastEventId: "",
      events: ["message", "status"],
      withCredentials: false,
      transport: "eventsource",
      poll: 0,
      pauseHidden: false,
      ...options,
    },
    {
      onState: (state) => states.push(state),
      onEvent: (event) => events.push(event),
      onError: (detail) => errors.push(detail),
      ...handlers,
    },
  );
  connection.open();
  return FakeEventSource.last;
}

const last = () => FakeEventSource.last;
const count = () => FakeEventSource.made.length;

/** Assert that nothing is open, asked or waited for. */
async function assertQuiet() {
  const before = [count(), browser.server.requests.length, states.length, events.length];
  for (const type of ["online", "pageshow"]) {
    browser.window(type);
  }
  browser.hide(false);
  await pass(700);
  const after = [count(), browser.server.requests.length, states.length, events.length];
  assert.deepEqual(after, before);
  assert.deepEqual(FakeEventSource.open, []);
}

// The address.

test("asks for heartbeats that scripts can see, and begins where it is told to", () => {
  const source = connect({ lastEventId: "a+b/=" });
  assert.equal(source.url.origin + source.url.pathname, "https://example.org/sse/orders/");
  assert.equal(source.param("token"), "old");
  assert.equal(source.param("heartbeat"), "event");
  assert.equal(source.param("last_event_id"), "a+b/=");
});

test("without a last event id it begins with what is new", () => {
  assert.equal(connect().param("last_event_id"), null);
});

test("credentials are as asked for, of the stream and of requests beside it", async () => {
  assert.equal(connect({ withCredentials: true }).withCredentials, true);
  last().fails();
  await settled();
  assert.equal(browser.server.last.init.credentials, "include");
});

// Events and heartbeats.

test("goes from connecting to open, and hands events on with the id as of each", () => {
  const source = connect();
  assert.deepEqual(states, ["connecting"]);
  source.opens().sends("status", "1", "id1").sends("message", "2");
  assert.deepEqual(states, ["connecting", "open"]);
  assert.deepEqual(events, [
    { type: "status", data: "1", lastEventId: "id1" },
    { type: "message", data: "2", lastEventId: "id1" },
  ]);
});

test("an event without an id keeps the one before, over a new source too", async () => {
  connect({ lastEventId: "id1" }).opens().sends("message", "no history");
  assert.equal(connection.lastEventId, "id1");
  assert.equal(events[0].lastEventId, "id1");
});

test("heartbeats move the last event id, and are no events", () => {
  connect().opens().beats(10, "id5");
  assert.equal(connection.lastEventId, "id5");
  assert.deepEqual(events, []);
});

test("heartbeats are events for who asks for them", () => {
  connect({ heartbeats: true }).opens().beats(10, "id5");
  assert.deepEqual(events, [{ type: "heartbeat", data: "10", lastEventId: "id5" }]);
});

test("hears a new name on the open source and on the next one", async () => {
  connect().opens();
  connection.listen("late");
  assert.ok(last().heard.has("late"));
  last().fails();
  await settled();
  await browser.server.answers(503);
  await pass(1);
  assert.equal(count(), 2);
  assert.ok(last().heard.has("late"));
});

// The watchdog.

test("silence for two and a half intervals: a new source, from the last event id", async () => {
  connect().opens().beats(10, "id1").sends("status", "x", "id2");
  await pass(24);
  assert.equal(count(), 1);
  await pass(1);
  assert.equal(count(), 2);
  assert.equal(last().param("last_event_id"), "id2");
  assert.equal(FakeEventSource.open.length, 1);
  assert.deepEqual(states, ["connecting", "open", "reconnecting"]);
  assert.deepEqual(errors, [{ status: 0, willRetry: true }]);
  last().opens().beats(10, "id2");
  assert.equal(connection.state, "open");
});

test("heartbeats keep a silent stream open", async () => {
  connect().opens();
  for (let beat = 0; beat < 20; beat += 1) {
    last().beats(10);
    await pass(10);
  }
  assert.equal(count(), 1);
});

test("events keep a stream open, too", async () => {
  connect().opens().beats(10);
  for (let event = 0; event < 20; event += 1) {
    await pass(10);
    last().sends("status", event);
  }
  assert.equal(count(), 1);
});

test("the interval is the server's; without one nobody watches", async () => {
  connect().opens().beats(100);
  await pass(249);
  assert.equal(count(), 1);
  last().beats("null");
  await pass(10_000);
  assert.equal(count(), 1);
});

test("a computer that wakes up gets a new source at the first look", async () => {
  connect().opens().beats(15, "id1");
  sleep(8 * 3_600);
  await pass(5);
  assert.equal(count(), 2);
  assert.equal(last().param("last_event_id"), "id1");
});

test("a stream that brings no heartbeat is given up, with longer and longer waits", async () => {
  connect().opens().beats(10);
  browser.window("online");
  await pass(1);
  last().opens();
  await pass(59);
  assert.equal(connection.state, "open");
  await pass(1);
  assert.equal(connection.state, "reconnecting");
  assert.deepEqual(FakeEventSource.open, []);
  await pass(1);
  assert.equal(count(), 3);
  last().opens();
  await pass(60);
  await pass(1);
  assert.equal(count(), 3, "the second wait is the longer one");
  await pass(1);
  assert.equal(count(), 4);
});

test("a server that has never sent a heartbeat may be silent", async () => {
  connect().opens().sends("message", "1");
  await pass(1_000);
  assert.equal(count(), 1);
});

test("an answer that never comes is given up", async () => {
  connect();
  await pass(61);
  assert.equal(count(), 2);
});

// What the browser does by itself.

test("the browser's own retry is left alone: it knows the server's reconnection time", async () => {
  connect().opens().beats(10, "id1");
  last().drops();
  assert.equal(connection.state, "reconnecting");
  assert.deepEqual(errors, [{ status: 0, willRetry: true }]);
  await pass(300);
  assert.equal(count(), 1);
  last().opens().beats(10, "id1");
  assert.equal(connection.state, "open");
  await pass(25);
  assert.equal(count(), 2, "the watchdog was not set again");
});

test("a stream that the browser got back, and that brings nothing, is given up", async () => {
  connect().opens().beats(10);
  last().drops();
  last().opens();
  await pass(61);
  assert.equal(count(), 2);
});

test("a retry of the browser's that leads nowhere is given up in the end", async () => {
  connect().opens().beats(10);
  last().drops();
  await pass(601);
  assert.equal(count(), 2);
});

// A fatal error: its status is asked for.

test("asks for the status once, as a stream would, and lets go of the answer", async () => {
  connect({ lastEventId: "id1" }).fails();
  const { url, init } = browser.server.last;
  assert.equal(url.href, last().url.href);
  assert.equal(init.headers.get("Accept"), "text/event-stream");
  assert.equal(init.cache, "no-store");
  let isCancelled = false;
  const body = new ReadableStream({ cancel: () => (isCancelled = true) });
  browser.server.last.resolve(new Response(body, { status: 200 }));
  await settled();
  assert.ok(isCancelled);
  assert.equal(browser.server.requests.length, 1);
});

test("204 ends it for good, without an error", async () => {
  connect().fails();
  await browser.server.answers(204);
  assert.deepEqual(states, ["connecting", "reconnecting", "closed"]);
  assert.deepEqual(errors, []);
  await assertQuiet();
});

for (const status of [400, 401, 403, 404, 405, 410]) {
  test(`${status} ends it, with an error that says so`, async () => {
    connect().fails();
    await browser.server.answers(status);
    assert.equal(connection.state, "closed");
    assert.deepEqual(errors, [{ status, willRetry: false }]);
    await assertQuiet();
  });
}

for (const status of [200, 408, 425, 429, 500, 502, 503, 504]) {
  test(`${status} does not end it`, async () => {
    connect({ lastEventId: "id1" }).fails();
    await browser.server.answers(status);
    assert.deepEqual(errors, [{ status, willRetry: true }]);
    assert.equal(connection.state, "reconnecting");
    await pass(1);
    assert.equal(count(), 2);
    assert.equal(last().param("last_event_id"), "id1");
  });
}

/** Let the source fail *count* times in a row; each time the question is answered by *answer*. */
async function failing(count, answer) {
  for (let time = 0; time < count; time += 1) {
    last().fails();
    await answer();
    await pass(time < count - 1 ? 30 : 0);
  }
}

test("a URL that leads to a page, as to log in, ends it at the third attempt", async () => {
  connect();
  await failing(2, () => browser.server.redirects());
  assert.equal(connection.state, "reconnecting");
  assert.deepEqual(errors, Array(2).fill({ status: 302, willRetry: true }));
  await pass(30);
  await failing(1, () => browser.server.redirects());
  assert.equal(connection.state, "closed");
  assert.deepEqual(errors[2], { status: 302, willRetry: false });
  await assertQuiet();
});

for (const [what, happen] of Object.entries({
  success: () => last().opens().beats(),
  "another failure": () => failing(1, () => browser.server.answers(502)),
})) {
  test(`such attempts are counted anew after ${what}`, async () => {
    connect();
    await failing(2, () => browser.server.redirects());
    await pass(30);
    await happen();
    await pass(30);
    await failing(2, () => browser.server.redirects());
    assert.equal(connection.state, "reconnecting");
    await pass(30);
    await failing(1, () => browser.server.redirects());
    assert.equal(connection.state, "closed");
  });
}

test("a page to log in that is still there when it is opened again ends it at once", async () => {
  connect();
  await failing(3, () => browser.server.redirects());
  connection.open();
  await failing(1, () => browser.server.redirects());
  assert.equal(connection.state, "closed");
});

for (const [what, answer] of Object.entries({
  "a stream": () => browser.server.redirects("", { type: "text/event-stream; charset=utf-8" }),
  "a server that is down": () => browser.server.redirects("", { status: 503 }),
  "no page, but is one": () => browser.server.answers(200, "<p>Back soon.</p>"),
})) {
  test(`a URL that leads to ${what} is asked on`, async () => {
    connect();
    await failing(6, answer);
    assert.equal(connection.state, "reconnecting");
    assert.ok(errors.every(({ willRetry }) => willRetry));
  });
}

test("a URL that leads to a refusal ends it at once", async () => {
  connect().fails();
  await browser.server.redirects("Log in", { status: 401 });
  assert.deepEqual(errors, [{ status: 401, willRetry: false }]);
});

test("without an answer it goes on, after waits that double, and begin anew in the end", async () => {
  connect();
  const times = [];
  for (let attempt = 0; attempt < 8; attempt += 1) {
    last().fails();
    await settled();
    await browser.server.isUnreachable();
    const since = Date.now();
    const before = count();
    while (count() === before) {
      mock.timers.tick(500);
      await settled();
    }
    times.push((Date.now() - since) / 1_000);
  }
  assert.deepEqual(times, [0.5, 1, 2, 4, 8, 15, 15, 15]);
  last().opens().beats(100);
  await pass(30);
  last().fails();
  await settled();
  await browser.server.isUnreachable();
  await pass(1);
  assert.equal(count(), 10);
});

test("a question that nobody answers is given up", async () => {
  connect().fails();
  await pass(61);
  assert.equal(browser.server.last.init.signal.aborted, true);
  assert.equal(count(), 2);
});

// By fetch.

test("another transport is loaded, and knows its status: no question is asked", async () => {
  const fetchOptions = { headers: { Authorization: "Bearer x" } };
  connect({ transport: "fetch", fetchOptions, lastEventId: "id1" });
  while (!browser.server.last) {
    await settled();
  }
  const { url, init } = browser.server.last;
  assert.equal(count(), 0);
  assert.equal(url.searchParams.get("heartbeat"), "event");
  assert.equal(init.headers.get("Authorization"), "Bearer x");
  await browser.server.answers(403);
  assert.equal(browser.server.requests.length, 1);
  assert.deepEqual(errors, [{ status: 403, willRetry: false }]);
  assert.equal(connection.state, "closed");
});

// Renewal.

const RENEWING = { renewUrl: "/sse/token/?token=old", renewAfter: 240 };
const FRESH = { url: "/sse/orders/?token=new", renew_after: 100 };

test("the URL is renewed in time, over and over, and used from the next source on", async () => {
  connect(RENEWING).opens().beats(1_000, "id1");
  await pass(239);
  assert.equal(browser.server.requests.length, 0);
  await pass(1);
  assert.equal(browser.server.last.url.href, "https://example.org/sse/token/?token=old");
  assert.equal(browser.server.last.init.headers.get("Accept"), "application/json");
  await browser.server.answers(200, { ...FRESH, renew_url: "/sse/token/?token=new" });
  assert.equal(count(), 1, "an open stream needs no new one");
  await pass(100);
  assert.equal(browser.server.last.url.href, "https://example.org/sse/token/?token=new");
  browser.window("pagehide");
  browser.window("pageshow");
  assert.equal(last().param("token"), "new");
  assert.equal(last().param("last_event_id"), "id1");
});

test("a URL that is good for no time at all does not make a storm of renewals", async () => {
  connect({ ...RENEWING, renewAfter: 0 }).opens().beats(1_000);
  await pass(239);
  assert.equal(count(), 1);
  assert.equal(browser.server.requests.length, 0);
  await pass(1);
  await browser.server.answers(200, { url: "/sse/orders/?token=new" });
  await pass(239);
  assert.equal(browser.server.requests.length, 1);
});

test("closed while its URL is renewed in time, it renews no more", async () => {
  connect(RENEWING).opens().beats(1_000);
  await pass(240);
  connection.close();
  assert.equal(browser.server.last.init.signal.aborted, true);
  await assertQuiet();
});

test("a renewal that fails is tried again well before long", async () => {
  connect(RENEWING).opens().beats(1_000);
  await pass(240);
  await browser.server.isUnreachable();
  await pass(60);
  assert.equal(browser.server.requests.length, 2);
  await browser.server.answers(200, "<html>Log in</html>");
  await pass(60);
  assert.equal(browser.server.requests.length, 3);
});

test("a refusal of the old URL says nothing: the new one is used, without a question", async () => {
  connect(RENEWING).opens().beats(1_000);
  await pass(240);
  await browser.server.answers(200, FRESH);
  last().drops();
  last().fails();
  await pass(1);
  assert.equal(browser.server.requests.length, 1);
  assert.equal(last().param("token"), "new");
});

test("403: renewed once, and gone on", async () => {
  connect(RENEWING).fails();
  await browser.server.answers(403);
  assert.equal(browser.server.last.url.pathname, "/sse/token/");
  await browser.server.answers(200, FRESH);
  assert.deepEqual(errors, [{ status: 403, willRetry: true }]);
  await pass(1);
  assert.equal(last().param("token"), "new");
});

test("403 with the renewed URL too: the end", async () => {
  connect(RENEWING).fails();
  await browser.server.answers(403);
  await browser.server.answers(200, FRESH);
  await pass(1);
  last().fails();
  await browser.server.answers(403);
  assert.equal(connection.state, "closed");
  assert.deepEqual(errors.at(-1), { status: 403, willRetry: false });
  await assertQuiet();
});

test("403, and the renewal is refused: the end", async () => {
  connect(RENEWING).fails();
  await browser.server.answers(403);
  await browser.server.answers(403);
  assert.equal(connection.state, "closed");
  assert.deepEqual(errors, [{ status: 403, willRetry: false }]);
  await assertQuiet();
});

test("403, and the renewal gets no answer: not the end", async () => {
  connect(RENEWING).fails();
  await browser.server.answers(403);
  await browser.server.isUnreachable();
  await pass(1);
  assert.equal(count(), 2);
});

test("a stream that came through may be renewed again after a later 403", async () => {
  connect(RENEWING).fails();
  await browser.server.answers(403);
  await browser.server.answers(200, FRESH);
  await pass(1);
  last().opens().beats(100);
  last().fails();
  await browser.server.answers(403);
  assert.equal(browser.server.last.url.pathname, "/sse/token/");
});

test("what one connection has renewed, the next one of its address begins with", async () => {
  const address = new Address("/sse/orders/?token=old", RENEWING.renewUrl, 240);
  connect({ address }).opens().beats(1_000);
  await pass(240);
  await browser.server.answers(200, FRESH);
  connection.close();
  connect({ address });
  assert.equal(last().param("token"), "new");
  await pass(99);
  assert.equal(browser.server.requests.length, 1);
  await pass(1);
  assert.equal(browser.server.requests.length, 2, "its time has begun anew");
});

test("a URL that is good for longer than a timer can wait is renewed then, and once", async () => {
  const longest = 2 ** 31 - 1;
  const { setTimeout } = globalThis;
  mock.method(globalThis, "setTimeout", (run, wait) => {
    assert.ok(wait <= longest, `a wait of ${wait}`);
    return setTimeout(run, wait);
  });
  connect({ ...RENEWING, renewAfter: 30 * 86_400 }).opens();
  mock.timers.tick(longest);
  await settled();
  assert.equal(browser.server.requests.length, 0);
  mock.timers.tick(30 * 86_400_000 - longest);
  await settled();
  assert.equal(browser.server.requests.length, 1);
});

test("a refused renewal is not asked for again until the stream itself is refused", async () => {
  connect(RENEWING).opens().beats(10_000);
  await pass(240);
  await browser.server.answers(403);
  await pass(3_600);
  assert.equal(browser.server.requests.length, 1);
  assert.equal(connection.state, "open");
  last().fails();
  await settled();
  assert.equal(browser.server.last.init.headers.get("Accept"), "text/event-stream");
  await browser.server.answers(403);
  assert.equal(browser.server.last.url.pathname, "/sse/token/");
  await browser.server.answers(200, FRESH);
  await pass(1);
  assert.equal(last().param("token"), "new");
});

test("a renewal that leads elsewhere, as to a page to log in, is refused", async () => {
  connect(RENEWING).fails();
  await settled();
  await browser.server.answers(403);
  await browser.server.redirects(FRESH);
  assert.equal(connection.state, "closed");
  assert.deepEqual(errors, [{ status: 403, willRetry: false }]);
});

test("after a long sleep the URL is renewed before it is used", async () => {
  connect(RENEWING).opens().beats(15);
  sleep(3_600);
  await pass(5);
  assert.equal(browser.server.last.url.pathname, "/sse/token/");
  assert.equal(count(), 1);
  await browser.server.answers(200, FRESH);
  assert.equal(last().param("token"), "new");
});

// The page.

test("a page that is put away has nothing open, and goes on when it is shown", async () => {
  connect().opens().beats(10, "id1");
  browser.window("pagehide");
  assert.equal(connection.state, "paused");
  assert.deepEqual(FakeEventSource.open, []);
  await pass(700);
  assert.equal(count(), 1);
  browser.window("pageshow");
  assert.equal(connection.state, "connecting");
  assert.equal(last().param("last_event_id"), "id1");
});

test("a page that is frozen likewise", () => {
  connect().opens().beats(10, "id1");
  browser.document.dispatchEvent(new Event("freeze"));
  assert.equal(connection.state, "paused");
  browser.document.dispatchEvent(new Event("resume"));
  assert.equal(connection.state, "connecting");
});

test("the pageshow of a page that has just loaded changes nothing", () => {
  connect();
  browser.window("pageshow");
  assert.equal(count(), 1);
});

test("a hidden page stays connected, unless it is asked to pause", () => {
  connect().opens();
  browser.hide(true);
  assert.equal(connection.state, "open");
});

test("with pauseHidden a hidden page pauses, and comes back from the last event id", () => {
  connect({ pauseHidden: true }).opens().beats(10, "id1");
  browser.hide(true);
  assert.equal(connection.state, "paused");
  browser.window("online");
  browser.window("pageshow");
  assert.deepEqual(FakeEventSource.open, []);
  browser.hide(false);
  assert.equal(connection.state, "connecting");
  assert.equal(last().param("last_event_id"), "id1");
});

test("with pauseHidden a page that opens in the background begins when it is seen", () => {
  browser.document.hidden = true;
  connect({ pauseHidden: true });
  assert.deepEqual(states, ["paused"]);
  assert.equal(count(), 0);
  browser.hide(false);
  assert.equal(count(), 1);
});

test("back online: a new source within a second, whatever the wait had become", async () => {
  connect().opens().beats(10, "id1");
  for (let attempt = 0; attempt < 6; attempt += 1) {
    last().fails();
    await settled();
    await browser.server.isUnreachable();
    await pass(15);
  }
  const before = count();
  browser.window("online");
  assert.equal(count(), before, "all clients of a building would come at once");
  assert.deepEqual(FakeEventSource.open, []);
  await pass(1);
  assert.equal(count(), before + 1);
  assert.equal(last().param("last_event_id"), "id1");
});

test("a page that is seen again does not wait for its next attempt", async () => {
  connect().fails();
  await browser.server.answers(503);
  assert.equal(count(), 1);
  browser.hide(false);
  assert.equal(count(), 2);
});

test("a page that is seen again finds out at once that its stream is dead", () => {
  connect().opens().beats(10);
  sleep(60);
  browser.hide(false);
  assert.equal(count(), 2);
});

test("a page that is seen again leaves a good stream alone", () => {
  connect().opens().beats(10);
  browser.hide(false);
  assert.equal(count(), 1);
});

// Polling.

const POLLING = { poll: 5 };

/** Fail three times. */
async function failThrice() {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    last().fails();
    await settled();
    if (attempt < 2) {
      await browser.server.answers(502);
      await pass(2);
    }
  }
}

test("polls after three attempts, dispatches answers, and goes on trying the stream", async () => {
  connect({ ...POLLING, lastEventId: "id1" });
  await failThrice();
  assert.equal(connection.state, "polling");
  const [poll, question] = browser.server.requests.slice(-2);
  assert.equal(poll.url.href, "https://example.org/sse/orders/?token=old");
  assert.equal(poll.init.headers.get("Accept"), "application/json");
  assert.equal(question.init.headers.get("Accept"), "text/event-stream");
  question.resolve(new Response("", { status: 502 }));
  poll.resolve(Response.json({ state: 1 }));
  await settled();
  assert.deepEqual(events, [{ type: "message", data: '{"state":1}', lastEventId: "id1" }]);
  await pass(5);
  const polls = browser.server.requests.filter(
    ({ init }) => init.headers.get("Accept") === "application/json",
  );
  assert.equal(polls.length, 2);
  assert.equal(count(), 4, "the stream was not tried again");
  last().opens();
  assert.equal(connection.state, "polling", "a stream that brings nothing is not open yet");
  last().beats(10, "id1");
  assert.equal(connection.state, "open");
  assert.equal(polls[1].init.signal.aborted, true);
  const before = browser.server.requests.length;
  await pass(20);
  assert.equal(browser.server.requests.length, before);
});

test("polls at once where something holds back all bytes", async () => {
  connect(POLLING).opens();
  await pass(20);
  assert.equal(connection.state, "polling");
});

test("polls where the browser retries in vain", async () => {
  connect(POLLING);
  for (let retry = 0; retry < 3; retry += 1) {
    last().drops();
  }
  assert.equal(connection.state, "polling");
  assert.equal(count(), 1);
});

test("a poll has the headers of fetchOptions, and never their method and body", async () => {
  const fetchOptions = { method: "POST", body: "x", headers: { Authorization: "Bearer y" } };
  connect({ ...POLLING, fetchOptions });
  [1, 2, 3].forEach(() => last().drops());
  const { headers, method, body } = browser.server.last.init;
  assert.equal(headers.get("Authorization"), "Bearer y");
  assert.deepEqual([method, body], [undefined, undefined]);
});

test("a stream that is lost now and then is not polled", async () => {
  connect(POLLING);
  for (let time = 0; time < 5; time += 1) {
    last().opens().beats(10);
    last().drops();
  }
  assert.equal(connection.state, "reconnecting");
});

test("a request of polling that fails, or takes too long, is not the last", async () => {
  connect(POLLING);
  [1, 2, 3].forEach(() => last().drops());
  await browser.server.answers(500, "oops");
  await pass(5);
  await browser.server.isUnreachable();
  await pass(5);
  assert.equal(browser.server.requests.length, 3);
  await pass(30);
  assert.equal(browser.server.last.init.signal.aborted, true);
  await pass(5);
  assert.equal(browser.server.requests.length, 4);
  assert.deepEqual(events, []);
});

test("a poll takes JSON alone, from the URL that it asks", async () => {
  connect(POLLING);
  [1, 2, 3].forEach(() => last().drops());
  await browser.server.answers(200, "<html>Log in</html>");
  await pass(5);
  await browser.server.redirects({ login: true });
  await pass(5);
  assert.deepEqual(events, []);
  browser.server.last.resolve(Response.json({ state: 1 }, { headers: { "Content-Type": "application/problem+json" } }));
  await settled();
  assert.equal(events.length, 1);
});

test("a poll that is answered by a stream lets go of it at once", async () => {
  connect(POLLING);
  [1, 2, 3].forEach(() => last().drops());
  const cancel = mock.fn();
  const headers = { "Content-Type": "text/event-stream" };
  browser.server.last.resolve(new Response(new ReadableStream({ cancel }), { headers }));
  await settled();
  assert.equal(cancel.mock.callCount(), 1);
  await pass(5);
  assert.equal(browser.server.requests.length, 2);
});

test("with an interval for polls, a server without heartbeats may be silent after an event", async () => {
  connect(POLLING).opens().sends("message", "1");
  await pass(600);
  assert.equal(count(), 1);
  assert.equal(connection.state, "open");
  last().drops();
  last().opens();
  await pass(20);
  assert.equal(connection.state, "polling", "a stream that brings nothing is none");
});

test("what is refused is not polled", async () => {
  connect(POLLING);
  await failThrice();
  await browser.server.answers(403);
  assert.equal(connection.state, "closed");
  browser.server.requests.forEach(({ resolve }) => resolve(new Response("late")));
  await assertQuiet();
});

test("without an interval nothing is polled", async () => {
  connect();
  await failThrice();
  assert.equal(connection.state, "reconnecting");
});

// Closing.

for (const [when, prepare] of Object.entries({
  connecting: () => {},
  open: () => last().opens().beats(10),
  "the browser retries": () => last().opens().drops(),
  "asking for the status": () => last().fails(),
  "waiting for the next attempt": async () => {
    last().fails();
    await browser.server.answers(503);
  },
  renewing: async () => {
    last().fails();
    await browser.server.answers(403);
  },
  polling: () => [1, 2, 3].forEach(() => last().drops()),
  paused: () => browser.window("pagehide"),
})) {
  test(`closed while ${when}: nothing is left`, async () => {
    connect({ ...RENEWING, ...POLLING });
    await prepare();
    await settled();
    connection.close();
    assert.equal(states.at(-1), "closed");
    browser.server.requests.forEach(({ resolve }) => resolve(new Response("{}")));
    await assertQuiet();
  });
}

test("opened again it goes on from its last event id, and open twice is once", () => {
  connect().opens().beats(10, "id1");
  connection.close();
  connection.close();
  connection.open();
  connection.open();
  assert.equal(count(), 2);
  assert.equal(last().param("last_event_id"), "id1");
  assert.deepEqual(states, ["connecting", "open", "closed", "connecting"]);
});

test("closed while its page was put away, it opens again without waiting for the page", () => {
  connect().opens();
  browser.window("pagehide");
  connection.close();
  connection.open();
  assert.deepEqual(states.slice(-2), ["closed", "connecting"]);
});

for (const when of ["open", "reconnecting"]) {
  test(`a handler that closes at "${when}" has it closed`, async () => {
    connect({}, { onState: (state) => state === when && connection.close() });
    last().opens().beats(10, "id1");
    await pass(30);
    assert.equal(connection.state, "closed");
    assert.deepEqual(FakeEventSource.open, []);
  });
}

test("an event that a handler of open has turned away comes again", () => {
  connect({}, { onState: (state) => state === "open" && connection.close() });
  last().sends("status", "1", "id1");
  assert.deepEqual(events, []);
  assert.equal(connection.lastEventId, "");
});
