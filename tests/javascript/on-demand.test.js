import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

const OWN = new URL("../../django_sse/static/django_sse/on-demand.js", import.meta.url);
const ELSEWHERE = "data:text/javascript,export default 'elsewhere'";

afterEach(() => {
  delete globalThis.document;
});

/** The module, on a page with these scripts. */
function load(name, scripts) {
  globalThis.document = { scripts };
  return import(`${OWN}?${name}`);
}

test("files come from where the script says that they are", async () => {
  const { importSharedConnection, importFetchSource } = await load("told", [
    { src: "https://example.org/other.js", dataset: { shared: "/no", fetch: "/no" } },
    { src: `${OWN}?told`, dataset: { shared: ELSEWHERE, fetch: ELSEWHERE } },
  ]);
  assert.equal((await importSharedConnection()).default, "elsewhere");
  assert.equal((await importFetchSource()).default, "elsewhere");
});

for (const [name, dataset] of Object.entries({ bare: {}, others: undefined })) {
  test(`files come from beside it if it does not say (${name})`, async () => {
    const scripts = dataset ? [{ src: `${OWN}?${name}`, dataset }] : [];
    const { importSharedConnection, importFetchSource } = await load(name, scripts);
    assert.ok((await importSharedConnection()).SharedConnection);
    assert.ok((await importFetchSource()).FetchSource);
  });
}
