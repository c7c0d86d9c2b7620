import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { NativeSource } from "../../django_sse/static/django_sse/native-source.js";
import { FakeEventSource, install, uninstall } from "./fakes.js";

let calls;
let source;

beforeEach(() => {
  install();
  calls = [];
  const options = { events: new Set(["message", "status"]), withCredentials: true };
  source = new NativeSource("/sse/", options, {
    onOpen: () => calls.push("open"),
    onEvent: (event) => calls.push(event),
    onRetry: () => calls.push("retry"),
    onFail: (status) => calls.push(["fail", status]),
  });
});
afterEach(uninstall);

test("opens an EventSource with credentials, if they are asked for", () => {
  assert.equal(FakeEventSource.last.withCredentials, true);
  assert.deepEqual([...FakeEventSource.last.heard], ["message", "status"]);
});

test("tells of opening and of events, with the id as of each", () => {
  FakeEventSource.last.opens().sends("status", "ready", "7").sends("message", "hello");
  assert.deepEqual(calls, [
    "open",
    { type: "status", data: "ready", lastEventId: "7" },
    { type: "message", data: "hello", lastEventId: "7" },
  ]);
});

test("hears a name from when it is told to, and each event once", () => {
  FakeEventSource.last.opens().sends("late", "1");
  source.listen("late");
  source.listen("late");
  FakeEventSource.last.sends("late", "2");
  assert.deepEqual(calls, ["open", { type: "late", data: "2", lastEventId: "" }]);
});

test("tells the browser's own retry from a failure, whose status nobody knows", () => {
  FakeEventSource.last.drops();
  FakeEventSource.last.fails();
  assert.deepEqual(calls, ["retry", ["fail", undefined]]);
});

test("an event of the server's that is named error is no failure", () => {
  FakeEventSource.last.opens().sends("error", "disk full");
  assert.deepEqual(calls, ["open"]);
});

test("once closed, it tells nothing", () => {
  const { last } = FakeEventSource;
  source.close();
  last.dispatchEvent(new Event("open"));
  last.dispatchEvent(new Event("error"));
  assert.equal(last.readyState, FakeEventSource.CLOSED);
  assert.deepEqual(calls, []);
});
