import assert from "node:assert/strict";
import { test } from "node:test";

import { ceiling } from "../../django_sse/static/django_sse/admin/chart.js";
import { makeClock, makeFormat } from "../../django_sse/static/django_sse/admin/format.js";

test("bytes are written as the server writes them", () => {
  const { value, tick } = makeFormat("size", "en");
  const written = [0, 1, 999, 1000, 1234, 99_940, 99_960, 999_400, 999_600, 1.2e6, 3e9, 5e15];
  const plain = written.map((size) => value(size).replace("\u00a0", " "));
  assert.deepEqual(plain, [
    "0 B/s", "1 B/s", "999 B/s", "1.0 kB/s", "1.2 kB/s", "99.9 kB/s", "100 kB/s", "999 kB/s",
    "1.0 MB/s", "1.2 MB/s", "3.0 GB/s", "5,000 TB/s",
  ]);
  assert.equal(tick(0), "0");
  assert.deepEqual([2e6, 2.5e6].map(tick), ["2\u00a0MB", "2.5\u00a0MB"]);
});

test("rates have a decimal where they are small", () => {
  const { value, tick } = makeFormat("rate", "en");
  assert.deepEqual([0, 0.25, 9.9, 10, 1234.5].map(value), ["0/s", "0.3/s", "9.9/s", "10/s", "1,235/s"]);
  assert.equal(tick(12_500), "12.5K");
});

test("counts are whole, in the language of the page", () => {
  assert.equal(makeFormat("count", "de").value(4999.7), "5.000");
});

test("times are those of the server", () => {
  assert.equal(makeClock("en", "Asia/Tokyo")(0), "09:00");
  assert.equal(makeClock("en", "UTC")(86_340), "23:59");
  assert.match(makeClock("en", "Nowhere/Atall")(0), /^\d\d:\d\d$/);
});

test("an axis ends a little above the most", () => {
  const ends = [null, 0, 0.3, 1, 1.9, 4, 95, 96, 210, 5000].map(ceiling);
  assert.deepEqual(ends, [2, 2, 2, 2, 2, 5, 100, 150, 250, 6000]);
});
