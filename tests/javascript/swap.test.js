/** What events do to the page, in a DOM (jsdom), with npm's Idiomorph. */

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { afterEach, beforeEach, test } from "node:test";

import { JSDOM } from "jsdom";

import { applySwap, names, parseRules, reload } from "../../django_sse/static/django_sse/swap.js";

const NAMES = ["document", "CSS", "fetch", "location", "Idiomorph", "DOMParser"];
const kept = NAMES.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
// jsdom has no CSS.escape(), and its selectors know no escapes by number: digits stay as they are.
const escape = (value) => String(value).replace(/[^\w-]/g, "\\$&");

let page;
let element;

beforeEach(() => {
  const { window } = new JSDOM("", { url: "https://example.com/page/", runScripts: "dangerously" });
  page = window.document;
  define({ document: page, CSS: { escape }, location: window.location, DOMParser: window.DOMParser });
  show("");
});

afterEach(() => {
  for (const [name, descriptor] of kept) {
    if (descriptor) {
      Object.defineProperty(globalThis, name, descriptor);
    } else {
      delete globalThis[name];
    }
  }
});

function define(globals) {
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}

/** A page with an element and this HTML. */
function show(html) {
  page.body.innerHTML = `<event-source id="source"></event-source><main>${html}</main>`;
  element = page.querySelector("event-source");
}

const main = () => page.querySelector("main").innerHTML;

/** An event comes to an element with these attributes. */
function take({ swap = "", target = "", type = "message", data, text = data }) {
  applySwap(element, parseRules(swap, target), { type, data, text });
}

// Reading the attributes.

test("neither swap nor target: there are no rules", () => {
  assert.deepEqual(parseRules("", ""), []);
  assert.deepEqual(parseRules(" none ", "#a"), []);
});

test("a target alone is filled", () => {
  const [rule] = parseRules("", "#a");
  assert.deepEqual(rule, { event: null, verb: "innerHTML", selector: "#a", isByName: false });
});

test("the names of the rules are to be listened to", () => {
  assert.deepEqual([...names(parseRules("a.b: delete #x; c: none;\n a.b: morph;", ""))], ["a.b", "c"]);
  assert.equal(names(parseRules("beforeend", "#a")).size, 0);
});

test("a name may have colons, and a selector too", () => {
  const [rule] = parseRules("order:new:afterbegin li:first-child", "");
  assert.deepEqual([rule.event, rule.verb, rule.selector], ["order:new", "afterbegin", "li:first-child"]);
});

for (const [swap, target, parts] of [
  ["innerHtml", "", ['"innerHtml"', "event: verb selector", "innerHTML, outerHTML"]],
  ["a: delete #x; b: prepend #y", "", ['"b: prepend #y"', "event: verb selector"]],
  ["a: delete #{id} >", "", ['"a: delete #{id} >"', '"#{id} >" is no CSS selector', '"#orders"']],
  ["", "#", ['target="#"', "no CSS selector"]],
]) {
  test(`swap="${swap}" target="${target}" is a SyntaxError that says what is wrong`, () => {
    assert.throws(
      () => parseRules(swap, target),
      (error) => error.name === "SyntaxError" && parts.every((part) => error.message.includes(part)),
    );
  });
}

// The verbs.

for (const [swap, result] of [
  ["innerHTML", '<p id="a">1<b id="t"><i>2</i></b>3</p>'],
  ["outerHTML", '<p id="a">1<i>2</i>3</p>'],
  ["morph", '<p id="a">1<i>2</i>3</p>'],
  ["beforebegin", '<p id="a">1<i>2</i><b id="t"><u>0</u></b>3</p>'],
  ["afterbegin", '<p id="a">1<b id="t"><i>2</i><u>0</u></b>3</p>'],
  ["beforeend", '<p id="a">1<b id="t"><u>0</u><i>2</i></b>3</p>'],
  ["afterend", '<p id="a">1<b id="t"><u>0</u></b><i>2</i>3</p>'],
  ["delete", '<p id="a">13</p>'],
  ["none", '<p id="a">1<b id="t"><u>0</u></b>3</p>'],
]) {
  test(`${swap} of a target, and the same by a rule for one event`, () => {
    show('<p id="a">1<b id="t"><u>0</u></b>3</p>');
    take({ swap, target: "#t", data: " <i>2</i>\n" });
    assert.equal(main(), result);
    show('<p id="a">1<b id="t"><u>0</u></b>3</p>');
    take({ swap: `other: delete #a; it: ${swap} #t`, type: "it", data: "<i>2</i>" });
    assert.equal(main(), result);
  });
}

test("without a target the element is it", () => {
  take({ swap: "beforeend", data: "<i>1</i>" });
  take({ swap: "a: beforeend", type: "a", data: "<i>2</i>" });
  assert.equal(element.innerHTML, "<i>1</i><i>2</i>");
});

test("a row of a table is parsed as one", () => {
  show('<table><tbody id="rows"><tr><td>0</td></tr></tbody></table>');
  take({ swap: "beforeend", target: "#rows", data: "<tr><td>1</td></tr>" });
  assert.equal(page.querySelectorAll("#rows > tr > td").length, 2);
});

test("scripts do not run", () => {
  for (const swap of ["innerHTML", "outerHTML", "beforeend", "morph"]) {
    show('<p id="t"></p>');
    take({ swap, target: "#t", data: "<i><script>globalThis.hasRun = true</script></i>" });
    assert.equal(page.querySelectorAll("script").length, 1);
    assert.equal(page.defaultView.hasRun, undefined);
  }
});

test("data that is no string is text, and no HTML", () => {
  show('<p id="t"></p>');
  const text = '{"name":"<img>"}';
  take({ target: "#t", data: JSON.parse(text), text });
  assert.equal(page.querySelector("#t").textContent, text);
  take({ target: "#t", data: 42, text: "42" });
  assert.equal(main(), '<p id="t">42</p>');
});

test("the blanks of text are kept, and those around elements are not", () => {
  show('<p id="t"></p>');
  for (const data of ["Hello", " world", "\n", " <b>!</b>\n"]) {
    take({ swap: "beforeend", target: "#t", data });
  }
  assert.equal(main(), '<p id="t">Hello world\n<b>!</b></p>');
});

// Whom it is for.

test("placeholders are filled from the data, and escaped", () => {
  show('<i id="order-7"></i><i id="order-x.y"></i><i data-k=\'a"]\'></i>');
  take({ swap: "a: delete #order-{id}", type: "a", data: { id: 7 }, text: "" });
  take({ swap: "a: delete #order-{id}", type: "a", data: { id: "x.y" }, text: "" });
  take({ swap: 'a: delete [data-k="{k}"]', type: "a", data: { k: 'a"]' }, text: "" });
  assert.equal(main(), "");
});

test("where the data lacks a placeholder's name, nothing is done", () => {
  show('<i id="order-undefined"></i><i id="order-null"></i><i id="order-"></i>');
  for (const data of [{}, { id: null }, null, "7", 7]) {
    take({ swap: "a: delete #order-{id}", type: "a", data, text: "" });
  }
  assert.equal(page.querySelectorAll("i").length, 3);
});

for (const verb of ["outerHTML", "morph"]) {
  test(`${verb} without a selector replaces the element with the id of the first one`, () => {
    show('<i id="a">1</i><i id="b">1</i>');
    take({ swap: `it: ${verb}`, target: "main", type: "it", data: '<i id="b">2</i>' });
    take({ swap: `it: ${verb}`, type: "it", data: '<i id="c">2</i>' });
    take({ swap: `it: ${verb}`, type: "it", data: "text" });
    assert.equal(main(), '<i id="a">1</i><i id="b">2</i>');
  });
}

test("delete without a selector takes the element that HTML or the data's id names", () => {
  show('<i id="a"></i><i id="b"></i><i id="7"></i><i id="c"></i>');
  take({ swap: "it: delete", type: "it", data: '<i id="a">' });
  take({ swap: "it: delete", type: "it", data: { id: "b" }, text: "" });
  take({ swap: "it: delete", type: "it", data: { id: 7 }, text: "" });
  take({ swap: "it: delete", target: "#c", type: "it", data: {}, text: "" });
  assert.equal(main(), '<i id="c"></i>');
});

for (const verb of ["beforebegin", "afterbegin", "beforeend", "afterend"]) {
  test(`${verb} of an element that is there already takes its place`, () => {
    show('<ul id="l"><li id="a">1</li><li id="b">1</li></ul>');
    const data = '<li id="a">2</li><li id="c">2</li>';
    take({ swap: verb, target: "#b", data });
    take({ swap: verb, target: "#b", data });
    assert.equal(page.querySelectorAll("#a, #c").length, 2);
    assert.equal(page.querySelector("#l").firstElementChild.outerHTML.slice(0, 15), '<li id="a">2</l');
  });
}

test("of an insertion beside the element that it replaces, the rest is not lost", () => {
  show('<i id="a">1</i>');
  take({ swap: "afterend", target: "#a", data: '<i id="a">2</i><i id="b">2</i>' });
  assert.equal(main(), '<i id="a">2</i><i id="b">2</i>');
});

test("in a shadow tree the targets are of that tree", () => {
  show('<p id="t">page</p>');
  const shadow = page.querySelector("main").attachShadow({ mode: "open" });
  shadow.innerHTML = '<event-source></event-source><p id="t">1</p>';
  element = shadow.querySelector("event-source");
  take({ target: "#t", data: "2" });
  take({ swap: "a: outerHTML", type: "a", data: '<b id="t">3</b>' });
  assert.equal(shadow.querySelector("#t").outerHTML, '<b id="t">3</b>');
  assert.equal(page.querySelector("#t").innerHTML, "page");
});

test("the focus goes to what comes in place of the element that had it, with its selection", () => {
  show('<form id="f"><input id="i" value="abcdef"></form>');
  page.querySelector("#i").focus();
  page.querySelector("#i").setSelectionRange(2, 4);
  take({ target: "main", data: '<form id="f"><input id="i" value="abcdef"></form>' });
  const now = page.querySelector("#i");
  assert.equal(page.activeElement, now);
  assert.deepEqual([now.selectionStart, now.selectionEnd], [2, 4]);
  take({ target: "main", data: '<button id="i">1</button>' });
  assert.equal(page.activeElement, page.querySelector("button"));
});

test("with Idiomorph on the page, what has not changed stays the same element", () => {
  define({ Idiomorph: idiomorph() });
  show('<ul id="l"><li id="a">1</li><li id="b"><input id="i"></li></ul>');
  const input = page.querySelector("#i");
  input.focus();
  input.value = "typed";
  take({ swap: "morph", target: "#l", data: '<ul id="l"><li id="b"><input id="i"></li><li id="c">2</li></ul>' });
  assert.equal(page.querySelector("#i"), input);
  assert.equal(page.activeElement, input);
  assert.equal(input.value, "typed");
  assert.equal(page.querySelectorAll("#l > li").length, 2);
  take({ swap: "it: morph", type: "it", data: '\n<li id="c" class="new">3</li>\n' });
  assert.equal(page.querySelector("#l").lastChild.outerHTML, '<li id="c" class="new">3</li>');
});

function idiomorph() {
  const require = createRequire(import.meta.url);
  const { window } = page.defaultView;
  // It asks of what kind an element is.
  const kinds = ["", "Head", "Input", "Option", "Template", "TextArea"];
  const classes = kinds.map((kind) => `HTML${kind}Element`);
  for (const name of [...classes, "DOMParser", "Document", "Element", "Node"]) {
    globalThis[name] = window[name];
  }
  define({ window });
  return require("idiomorph");
}

// After a reset.

function answer(html, status = 200, redirected = false) {
  const requests = [];
  define({
    fetch: async (url, { headers, signal }) => {
      requests.push({ url, accept: headers.get("Accept"), signal });
      return { ok: status < 400, status, url, redirected, text: async () => html };
    },
  });
  return requests;
}

const reloaded = (swap, target, url = "", signal = new AbortController().signal) =>
  reload(element, parseRules(swap, target), url, signal);

test("the targets' content is taken from the page itself", async () => {
  const requests = answer("<!doctype html><html><body><ul id=l class=x><li>2</ul><p id=p>2</p><p>no");
  show('<ul id="l"><li>1</li></ul><p id="p">1</p>');
  await reloaded("a: afterbegin #l; b: outerHTML; c: delete #o-{id}; d: innerHTML #p", "");
  assert.equal(main(), '<ul id="l"><li>2</li></ul><p id="p">2</p>');
  assert.deepEqual([requests[0].url, requests[0].accept], ["https://example.com/page/", "text/html"]);
  await reloaded("b: outerHTML", "#l");
  assert.equal(requests.length, 2);
});

test("the element itself is found by its id", async () => {
  answer('<event-source id="source"><b>2</b></event-source>');
  await reloaded("innerHTML", "");
  assert.equal(element.innerHTML, "<b>2</b>");
});

test("of a URL that has no such element the whole answer is taken", async () => {
  const requests = answer("<tr><td>1</td></tr>");
  show("<table><tbody></tbody></table>");
  await reloaded("", "tbody", "/rows/");
  assert.equal(main(), "<table><tbody><tr><td>1</td></tr></tbody></table>");
  assert.equal(requests[0].url, "/rows/");
});

test("of the page itself the whole is never put into a target", async () => {
  answer("<main>all of the page</main>");
  show('<p id="t">1</p>');
  await reloaded("", "#t");
  element.id = "";
  await reloaded("innerHTML", "");
  assert.equal(main(), '<p id="t">1</p>');
  assert.equal(element.innerHTML, "");
});

test("nothing to swap, or nothing that can be found again: nothing is asked for", async () => {
  const requests = answer("");
  await reloaded("", "");
  await reloaded("a: outerHTML; b: delete #o-{id}", "");
  assert.equal(requests.length, 0);
});

test("an answer that is no good is an error that says so, and changes nothing", async () => {
  answer("<p id=t>2", 503);
  show('<p id="t">1</p>');
  await assert.rejects(reloaded("", "#t", "https://example.com/t/"), /example.com\/t\/ answers 503/);
  assert.equal(main(), '<p id="t">1</p>');
});

test("of a reload-url that leads elsewhere nothing is taken; the page itself may lead on", async () => {
  answer("<p id=t>2", 200, true);
  show('<p id="t">1</p>');
  await assert.rejects(reloaded("", "#t", "https://example.com/t/"), /example.com\/t\/ answers 200/);
  assert.equal(main(), '<p id="t">1</p>');
  await reloaded("", "#t");
  assert.equal(main(), '<p id="t">2</p>');
});

test("a selector may begin with the page's body", async () => {
  answer("<!-- x -->\n<!DOCTYPE html><title>t</title><body class=b><main><p id=t>2</p></main></body>");
  show('<p id="t">1</p>');
  page.body.className = "b";
  await reloaded("", "body.b > main");
  assert.equal(main(), '<p id="t">2</p>');
});

test("of a whole page without the target, its body is what a reload-url gives", async () => {
  answer("<!doctype html><title>t</title><body><b>2</b>");
  show('<p id="t">1</p>');
  await reloaded("", "#t", "/t/");
  assert.equal(main(), '<p id="t"><b>2</b></p>');
});

test("the page is told, once, that a swap has removed the element; not where that was asked for", (context) => {
  const { mock } = context.mock.method(console, "warn", () => {});
  take({ target: "body", data: "<p>1</p>" });
  assert.equal(element.isConnected, false);
  assert.equal(mock.callCount(), 1);
  assert.equal(mock.calls[0].arguments[1], element);
  element.innerHTML = "<b>1</b>";
  take({ target: "b", data: "2" }); // Events that have waited.
  assert.equal(element.innerHTML, "<b>2</b>");
  page.body.append(element);
  take({ swap: "outerHTML", data: "<p>3</p>" });
  assert.equal(element.isConnected, false);
  assert.equal(mock.callCount(), 1);
});
