/** A stream by fetch(), against a real HTTP server. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";

import { FetchSource } from "../../django_sse/static/django_sse/fetch-source.js";

const STREAM = { "Content-Type": "text/event-stream" };

let server;
let url;
let requests; // As they came: {method, headers, body, response}.
let sources;

beforeEach(async () => {
  sources = [];
  requests = queue();
  server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) {
      body += chunk;
    }
    requests.put({ method: request.method, headers: request.headers, body, response });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${server.address().port}/`;
});

afterEach(async () => {
  sources.forEach((source) => source.close());
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

/** What is put in is got out, whichever comes first. */
function queue() {
  const items = [];
  const waiting = [];
  return {
    put: (item) => (waiting.length ? waiting.shift()(item) : items.push(item)),
    next: () => (items.length ? items.shift() : new Promise((resolve) => waiting.push(resolve))),
    get length() {
      return items.length;
    },
  };
}

/** Open a source; its calls are in `calls`. */
function open({ query = "", fetchOptions, lastEventId = "", events = ["message"], onEvent } = {}) {
  const calls = queue();
  const handlers = {
    onOpen: () => calls.put("open"),
    onEvent: (event) => {
      calls.put(event);
      onEvent?.(event);
    },
    onRetry: () => calls.put("retry"),
    onFail: (status) => calls.put({ failed: status }),
  };
  const options = { events: new Set(events), withCredentials: false, lastEventId, fetchOptions };
  const source = new FetchSource(url + query, options, handlers);
  sources.push(source);
  return { source, calls };
}

const event = (data, lastEventId = "", type = "message") => ({ type, data, lastEventId });

test("method, headers and body are sent, and the events of the answer come", async () => {
  const { calls } = open({
    fetchOptions: {
      method: "POST",
      headers: { Authorization: "Bearer secret" },
      body: '{"prompt":"Hi"}',
    },
  });
  const { method, headers, body, response } = await requests.next();
  assert.equal(method, "POST");
  assert.equal(headers.authorization, "Bearer secret");
  assert.equal(headers.accept, "text/event-stream");
  assert.equal(headers["last-event-id"], undefined);
  assert.equal(body, '{"prompt":"Hi"}');
  response.writeHead(200, { "Content-Type": "Text/Event-Stream; charset=utf-8" });
  response.write("data: He\n\ndata: l");
  assert.equal(await calls.next(), "open");
  assert.deepEqual(await calls.next(), event("He"));
  response.write("lo\n\n");
  assert.deepEqual(await calls.next(), event("llo"));
});

test("characters that are cut between two chunks are put together", async () => {
  const { calls } = open();
  const { response } = await requests.next();
  const bytes = Buffer.from("data: ü€\n\n");
  response.writeHead(200, STREAM);
  for (const byte of bytes) {
    response.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  assert.equal(await calls.next(), "open");
  assert.deepEqual(await calls.next(), event("ü€"));
});

test("only the names that are listened to come, but every id counts", async () => {
  const { source, calls } = open({ events: ["a"] });
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.write("event: a\nid: 1\ndata: x\n\nevent: b\nid: 2\ndata: y\n\nevent: a\ndata: z\n\n");
  assert.equal(await calls.next(), "open");
  assert.deepEqual(await calls.next(), event("x", "1", "a"));
  assert.deepEqual(await calls.next(), event("z", "2", "a"));
  source.listen("b");
  response.write("event: b\ndata: now\n\n");
  assert.deepEqual(await calls.next(), event("now", "2", "b"));
});

test("a stream that ends is asked for again after its reconnection time, from the last id", async () => {
  const { calls } = open({ lastEventId: "é0" });
  const { headers, response } = await requests.next();
  assert.equal(Buffer.from(headers["last-event-id"], "latin1").toString(), "é0");
  response.writeHead(200, STREAM);
  response.end("retry: 1\n\nid: 7\ndata: x\n\ndata: cut");
  assert.equal(await calls.next(), "open");
  assert.deepEqual(await calls.next(), event("x", "7"));
  assert.equal(await calls.next(), "retry");
  const again = await requests.next();
  assert.equal(again.headers["last-event-id"], "7");
  again.response.writeHead(204).end();
  assert.deepEqual(await calls.next(), { failed: 204 });
});

test("a stream that breaks is asked for again", async () => {
  const { calls } = open();
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.write("retry: 1\n\ndata: x\n\n");
  assert.equal(await calls.next(), "open");
  await calls.next();
  response.destroy();
  assert.equal(await calls.next(), "retry");
  await requests.next();
});

for (const [status, type] of [
  [200, "text/html"],
  [200, "text/event-streams"],
  [201, "text/event-stream"],
  [403, "text/event-stream"],
  [500, "text/plain"],
]) {
  test(`${status} with ${type} is no stream: it has failed, and is not asked for again`, async () => {
    const { calls } = open();
    const { response } = await requests.next();
    const gone = once(response, "close");
    response.writeHead(status, { "Content-Type": type }).write("data: x\n\n");
    assert.deepEqual(await calls.next(), { failed: status });
    await gone;
    assert.equal(requests.length + calls.length, 0);
  });
}

test("an answer that comes from elsewhere, and is no stream, is a failure with status 302", async () => {
  const { calls } = open();
  (await requests.next()).response.writeHead(303, { Location: "/login/" }).end();
  (await requests.next()).response.writeHead(200, { "Content-Type": "text/html" }).end("Log in");
  assert.deepEqual(await calls.next(), { failed: 302 });
});

test("a stream that comes from elsewhere is one", async () => {
  const { calls } = open();
  (await requests.next()).response.writeHead(307, { Location: "/new/" }).end();
  (await requests.next()).response.writeHead(200, STREAM).end("data: 1\n\n");
  assert.equal(await calls.next(), "open");
});

test("no answer at all is a failure with status 0", async () => {
  const { calls } = open();
  (await requests.next()).response.destroy();
  assert.deepEqual(await calls.next(), { failed: 0 });
});

test("after close() nothing is called, and the connection is gone", async () => {
  const seen = open({ onEvent: () => seen.source.close() });
  const { response } = await requests.next();
  const gone = once(response, "close");
  response.writeHead(200, STREAM);
  response.write("data: 1\n\ndata: 2\n\n");
  await gone;
  assert.equal(await seen.calls.next(), "open");
  assert.deepEqual(await seen.calls.next(), event("1"));
  assert.equal(seen.calls.length, 0);
});

test("close() before the request is made makes none", async () => {
  open().source.close();
  open({ fetchOptions: { headers: { "X-Name": "second" } } });
  const { headers } = await requests.next();
  assert.equal(headers["x-name"], "second");
  assert.equal(requests.length, 0);
});

test("close() while it waits for its time makes no request", async (context) => {
  const { source, calls } = open();
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.write("retry: 1234\n\n");
  assert.equal(await calls.next(), "open");
  const timers = [];
  context.mock.method(globalThis, "setTimeout", (run, delay) => timers.push({ run, delay }));
  context.mock.method(globalThis, "clearTimeout", (id) => delete timers[id - 1]);
  response.end();
  assert.equal(await calls.next(), "retry");
  assert.ok(timers.some((timer) => timer?.delay === 1234));
  source.close();
  assert.ok(!timers.some((timer) => timer?.delay === 1234));
});

test("a handler that throws is reported, and does not end the stream", async () => {
  const thrown = [];
  globalThis.reportError = (error) => thrown.push(error.message); // Node.js has none.
  const { calls } = open({
    onEvent: ({ data }) => {
      if (data === "1") {
        throw new Error("of the page");
      }
    },
  });
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.write("data: 1\n\ndata: 2\n\n");
  assert.equal(await calls.next(), "open");
  assert.deepEqual([await calls.next(), await calls.next()], [event("1"), event("2")]);
  assert.deepEqual(thrown, ["of the page"]);
});

// A request that has an effect.

const post = () => ({ method: "POST", body: "prompt" });

test("a POST whose stream has ended is not sent again: that is as a 204", async () => {
  const fetchOptions = post();
  const { calls } = open({ fetchOptions });
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.end("retry: 1\n\ndata: x\n\n");
  assert.equal(await calls.next(), "open");
  await calls.next();
  assert.deepEqual(await calls.next(), { failed: 204 });
  // Nor by another source, as after a time-out.
  const next = open({ fetchOptions });
  assert.equal(next.calls.length, 0, "called while it was made");
  assert.deepEqual(await next.calls.next(), { failed: 204 });
  assert.equal(requests.length, 0);
  // A page that wants another answer says so.
  open({ fetchOptions: post() });
  await requests.next();
});

test("a POST to another stream is another request; with a fresh token or place it is the same", async () => {
  const fetchOptions = post();
  const { calls } = open({ fetchOptions, query: "?q=1&token=a:1" });
  (await requests.next()).response.writeHead(200, STREAM).end();
  await calls.next();
  assert.deepEqual(await calls.next(), { failed: 204 });
  const again = open({ fetchOptions, query: "?q=1&token=a:2&heartbeat=event&last_event_id=7" });
  assert.deepEqual(await again.calls.next(), { failed: 204 });
  const other = open({ fetchOptions, query: "?q=2&token=a:1" });
  (await requests.next()).response.writeHead(200, STREAM).end();
  await other.calls.next();
  const first = open({ fetchOptions, query: "?q=1&token=a:1" });
  assert.deepEqual(await first.calls.next(), { failed: 204 }, "back at the first");
});

test("a POST that breaks off has failed, and is not sent again", async () => {
  const fetchOptions = post();
  const { calls } = open({ fetchOptions });
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.write("data: x\n\n");
  assert.equal(await calls.next(), "open");
  await calls.next();
  response.destroy();
  assert.deepEqual(await calls.next(), { failed: 0 });
  assert.deepEqual(await open({ fetchOptions }).calls.next(), { failed: 204 });
});

test("a POST whose stream gave an id goes on from there", async () => {
  const { calls } = open({ fetchOptions: post() });
  const { response } = await requests.next();
  response.writeHead(200, STREAM);
  response.end("retry: 1\n\nid: 5\ndata: x\n\n");
  assert.equal(await calls.next(), "open");
  await calls.next();
  assert.equal(await calls.next(), "retry");
  const { method, headers, body } = await requests.next();
  assert.deepEqual([method, headers["last-event-id"], body], ["POST", "5", "prompt"]);
});

for (const [status, isSentAgain] of [[401, true], [429, true], [503, true], [500, false]]) {
  test(`a POST that is answered ${status} may ${isSentAgain ? "" : "not "}be sent again`, async () => {
    const fetchOptions = post();
    const first = open({ fetchOptions });
    (await requests.next()).response.writeHead(status).end();
    assert.deepEqual(await first.calls.next(), { failed: status });
    const { calls } = open({ fetchOptions });
    if (isSentAgain) {
      await requests.next();
    } else {
      assert.deepEqual(await calls.next(), { failed: 204 });
    }
  });
}
