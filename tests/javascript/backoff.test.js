import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Backoff } from "../../django_sse/static/django_sse/backoff.js";
import { install, uninstall } from "./fakes.js";

beforeEach(install);
afterEach(uninstall);

const waits = (backoff, count) => Array.from({ length: count }, () => backoff.next());

test("waits double up to half a minute, each drawn from zero to its ceiling", () => {
  const backoff = new Backoff();
  assert.deepEqual(waits(backoff, 7), [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
});

test("a wait is anything from nothing to its ceiling", () => {
  mock.method(Math, "random", () => 0);
  assert.equal(new Backoff().next(), 0);
  mock.method(Math, "random", () => 0.999);
  assert.equal(new Backoff().next(), 999);
});

test("a success that lasts lets the waits begin anew", () => {
  const backoff = new Backoff();
  waits(backoff, 5);
  backoff.succeed();
  mock.timers.tick(30_000);
  assert.equal(backoff.next(), 500);
});

test("a short success changes nothing: a server that takes everyone and falls is not well", () => {
  const backoff = new Backoff();
  waits(backoff, 3);
  backoff.succeed();
  mock.timers.tick(29_999);
  assert.equal(backoff.next(), 4000);
  mock.timers.tick(60_000);
  assert.equal(backoff.next(), 8000, "the time of the last success was taken into account twice");
});

test("a reset lets the waits begin anew at once", () => {
  const backoff = new Backoff();
  waits(backoff, 5);
  backoff.reset();
  assert.equal(backoff.next(), 500);
});
