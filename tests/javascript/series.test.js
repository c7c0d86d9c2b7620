import assert from "node:assert/strict";
import { test } from "node:test";

import { Series } from "../../django_sse/static/django_sse/admin/series.js";

/** @param {Record<string, (number | null)[]>} series */
const kept = (series, start = 1000) => ({ start, step: 10, series });

test("the steps are those that the server has kept", () => {
  const series = new Series(kept({ streams: [null, 2], events: [null, 5] }));
  assert.deepEqual(series.times, [1000, 1010]);
  assert.deepEqual(series.values("events"), [null, 5]);
  assert.deepEqual(series.values("unknown"), []);
  assert.equal(series.beginning, 1010);
});

test("where nobody was, nothing begins", () => {
  assert.equal(new Series(kept({ streams: [null, null] })).beginning, undefined);
  assert.equal(new Series(kept({})).beginning, undefined);
  assert.deepEqual(new Series(kept({})).times, []);
});

test("a step is the average of the figures that come in it", () => {
  const series = new Series(kept({ streams: [1, 1] }));
  for (const [at, streams] of [[1020.1, 2], [1020.6, 4], [1029.9, 9]]) {
    series.add({ at, streams });
  }
  assert.deepEqual(series.values("streams"), [1, 1, 5]);
  assert.equal(series.latest.streams, 9);
});

test("the next step begins anew, and the oldest goes", () => {
  const series = new Series(kept({ streams: [1, 1] }));
  series.add({ at: 1020, streams: 2 });
  series.add({ at: 1030, streams: 7 });
  series.add({ at: 1031, streams: 9 });
  assert.deepEqual(series.values("streams"), [1, 2, 8]);
  assert.deepEqual(series.times, [1010, 1020, 1030]);
});

test("a pause leaves a hole, until the server tells", () => {
  const series = new Series(kept({ streams: [1, 1, 1] }));
  series.add({ at: 1050, streams: 5 });
  assert.deepEqual(series.values("streams"), [1, null, null, 5]);
  series.replace(kept({ streams: [3, 4] }, 1030));
  assert.deepEqual(series.values("streams"), [1, 3, 4, 5]);
  assert.deepEqual(series.times, [1020, 1030, 1040, 1050]);
});

test("the server knows better than what was seen", () => {
  const series = new Series(kept({ streams: [1, 1] }));
  series.add({ at: 1020, streams: 5 });
  series.replace(kept({ streams: [2, 3] }, 1010));
  assert.deepEqual(series.values("streams"), [1, 2, 3]);
});

test("what it tells again after that begins its step", () => {
  const series = new Series(kept({ streams: [1, 1] }));
  series.replace(kept({ streams: [1, 1] }));
  series.add({ at: 1025, streams: 6 });
  series.add({ at: 1026, streams: 8 });
  assert.deepEqual(series.values("streams"), [1, 1, 7]);
});

test("figures that are old, or of before the hour, change nothing", () => {
  const series = new Series(kept({ streams: [1, 2, 3] }));
  series.add({ at: 1015, streams: 100 });
  series.add({ at: 900, streams: 100 });
  assert.deepEqual(series.values("streams"), [1, 2, 3]);
});

test("a series that the figures do not have is left alone", () => {
  const series = new Series(kept({ streams: [1], cpu: [1] }));
  series.add({ at: 1010, streams: 4 });
  assert.deepEqual(series.values("streams"), [1, 4]);
  assert.deepEqual(series.values("cpu"), [1]);
});

test("what the page was given is not changed", () => {
  const given = kept({ streams: [1, 1] });
  new Series(given).add({ at: 1020, streams: 2 });
  assert.deepEqual(given.series.streams, [1, 1]);
});
