import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Watchdog } from "../../django_sse/static/django_sse/watchdog.js";
import { install, sleep, uninstall } from "./fakes.js";

let silences;
let dog;

beforeEach(() => {
  install();
  silences = 0;
  dog = new Watchdog(() => (silences += 1));
});
afterEach(uninstall);

test("silence is told of once", () => {
  dog.start(20);
  mock.timers.tick(19_999);
  assert.equal(silences, 0);
  mock.timers.tick(1);
  assert.equal(silences, 1);
  mock.timers.tick(100_000);
  assert.equal(silences, 1);
});

test("what is heard puts it off", () => {
  dog.start(20);
  for (let beat = 0; beat < 10; beat += 1) {
    mock.timers.tick(15_000);
    dog.heard();
  }
  assert.equal(silences, 0);
});

test("a sleep is noticed at the first look, though timers wait for the rest of their time", () => {
  dog.start(40);
  mock.timers.tick(1_000);
  sleep(3_600);
  mock.timers.tick(4_000);
  assert.equal(silences, 1);
});

test("a sleep is noticed at once where somebody asks", () => {
  dog.start(40);
  sleep(3_600);
  dog.check();
  assert.equal(silences, 1);
});

test("looks that come late, as in a hidden tab, do not matter where something was heard", () => {
  dog.start(20);
  sleep(60); // No look for a minute,
  dog.heard(); // but events all the time.
  dog.check();
  assert.equal(silences, 0);
});

test("a clock that was set back does not make it wait an hour", () => {
  dog.start(20);
  sleep(-3_600);
  for (let second = 0; second < 25; second += 1) {
    mock.timers.tick(1_000);
  }
  assert.equal(silences, 1);
});

test("a short limit is watched in time", () => {
  dog.start(0.5);
  mock.timers.tick(500);
  assert.equal(silences, 1);
});

test("without a limit, and once it is stopped, it does not watch", () => {
  for (const seconds of [0, NaN]) {
    dog.start(seconds);
    mock.timers.tick(100_000);
  }
  dog.start(20);
  dog.stop();
  mock.timers.tick(100_000);
  dog.check();
  assert.equal(silences, 0);
});
