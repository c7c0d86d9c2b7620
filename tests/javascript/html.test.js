/** HTML under Trusted Types, as by the directive require-trusted-types-for 'script'. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, parsePage } from "../../django_sse/static/django_sse/html.js";

class TrustedHTML {
  constructor(html) {
    this.html = html;
  }
}

test("what is parsed has gone through one policy, which is made when it is needed", () => {
  const policies = [];
  const parsed = [];
  const sink = (value) => {
    assert.ok(value instanceof TrustedHTML, "This document requires 'TrustedHTML' assignment.");
    parsed.push(value.html);
  };
  const template = Object.defineProperty({}, "innerHTML", { set: sink });
  globalThis.document = { createElement: () => template };
  globalThis.DOMParser = class {
    parseFromString = sink;
  };
  globalThis.trustedTypes = {
    createPolicy(name, { createHTML }) {
      policies.push(name);
      return { createHTML: (html) => new TrustedHTML(createHTML(html)) };
    },
  };
  parse("<p>1</p>");
  parse("");
  parsePage("<p>2</p>");
  parsePage("<!doctype html><p>3</p>");
  assert.deepEqual(parsed, ["<p>1</p>", "", "<p>2</p>", "<!doctype html><p>3</p>"]);
  assert.deepEqual(policies, ["django-sse"]);
});
