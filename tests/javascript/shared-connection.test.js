/** Tabs that share one connection, whatever becomes of them. */

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { Address } from "../../django_sse/static/django_sse/address.js";
import { SharedConnection } from "../../django_sse/static/django_sse/shared-connection.js";
import { connectionOf, Tab, World } from "./tabs.js";

const STATIC = new URL("../../django_sse/static/django_sse/", import.meta.url);
const NAMES = ["a", "b", "c"];
const SEEDS = Number(process.env.SEEDS ?? 150);

/** The class, with the text of its modules edited: a file, what is there, and what is put there. */
async function edited(edits) {
  const folder = await mkdtemp(path.join(tmpdir(), "django-sse-"));
  try {
    await cp(STATIC, folder, { recursive: true });
    await writeFile(path.join(folder, "package.json"), '{"type": "module"}');
    for (const [name, old, now] of edits) {
      const file = path.join(folder, name);
      const text = await readFile(file, "utf8");
      assert.ok(text.includes(old), `${name} has no ${old}`);
      await writeFile(file, text.replace(old, now));
    }
    return (await import(pathToFileURL(path.join(folder, "shared-connection.js")).href)).SharedConnection;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Open a tab that shares, and note what it gets. */
function openTab(world, Shared, options) {
  return join(world, new Tab(world), Shared, options);
}

async function join(
  world,
  tab,
  Shared,
  { names = NAMES, lastEventId = String(world.log.length), url = "/events/", share, renewUrl = "", renewAfter = 240 } = {},
) {
  tab.names = names;
  tab.beginning = world.log.length;
  tab.at = lastEventId === "" ? undefined : Number(lastEventId);
  tab.got = [];
  tab.states = [];
  await tab.run(() => {
    tab.shared = new Shared(
      {
        address: (tab.address = new Address(url, renewUrl, renewAfter)),
        share,
        lastEventId,
        events: [...names, "reset"],
        withCredentials: false,
        transport: "eventsource",
        poll: 0,
        pauseHidden: false,
      },
      {
        onState: (state) => tab.states.push(state),
        onEvent: (event) => check(world, tab, event),
        onError: () => {},
      },
      connectionOf(tab),
    );
    tab.shared.open();
  });
  return tab;
}

/** Hold an event against what the tab has to get: no event left out, repeated, or out of order. */
function check(world, tab, { type, lastEventId }) {
  const n = Number(lastEventId);
  tab.got.push(`${type}${n}`);
  if (type === "reset") {
    assert.ok(!(tab.at >= n), `reset to ${n}, being at ${tab.at}`);
  } else if (tab.at === undefined) {
    assert.ok(n > tab.beginning, `${n} is from before ${tab.beginning}`);
  } else {
    assert.equal(n, missing(world, tab)[0], `tab ${tab.names}, being at ${tab.at}, got ${n}`);
  }
  assert.equal(tab.shared.lastEventId, lastEventId);
  tab.at = n;
}

/** What the tab has still to get. */
function missing(world, tab) {
  return world.log.slice(tab.at).flatMap(({ n, type }) => (tab.names.includes(type) ? n : []));
}

/** Something that happens. */
async function happen(world, Shared) {
  const chance = world.random();
  const running = world.tabs.filter((tab) => tab.state === "running");
  const frozen = world.tabs.filter((tab) => tab.state === "frozen");
  const tab = world.pick(running);
  if (chance < 0.55) {
    for (let count = world.pick([1, 1, 1, 2, 5, 20]); count > 0; count--) {
      world.publish(world.pick(NAMES));
      if (world.random() < 0.5) {
        await world.pass(world.between(0, 20));
      }
    }
  } else if (chance < 0.7 && world.live.length < 6) {
    const names = world.pick([NAMES, NAMES, NAMES, ["a"], ["b"], ["a", "c"]]);
    const ago = world.random() < 0.5 ? 0 : Math.floor(world.between(0, 80));
    const lastEventId = world.random() < 0.15 ? "" : String(Math.max(0, world.log.length - ago));
    await openTab(world, Shared, { names, lastEventId });
  } else if (chance < 0.78 && tab) {
    await tab.close();
  } else if (chance < 0.82 && tab) {
    tab.crash();
  } else if (chance < 0.88 && tab) {
    await tab.freeze({ isTold: world.random() < 0.3 });
  } else if (chance < 0.92 && tab) {
    await tab.putAway();
  } else if (frozen.length) {
    await world.pick(frozen).thaw();
  }
}

/** A quarter of an hour of one seed, and then peace. */
async function live(seed, Shared) {
  const world = new World(seed, 0.3);
  for (let step = 0; step < 120; step++) {
    await happen(world, Shared);
    await world.pass(world.random() < 0.9 ? world.between(0, 2_000) : world.between(0, 60_000));
  }
  for (const tab of world.tabs.filter(({ state }) => state === "frozen")) {
    if (seed % 2) {
      await tab.thaw();
    }
  }
  await openTab(world, Shared);
  await world.pass(200_000);
  NAMES.forEach((name) => world.publish(name));
  await world.pass(20_000);
  const running = world.live.filter(({ state }) => state === "running");
  for (const tab of running) {
    assert.deepEqual(missing(world, tab), [], `tab ${tab.names} is left at ${tab.at}`);
    assert.equal(tab.shared.state, "open");
  }
  const lasting = [...world.connections].filter(({ tab }) => running.includes(tab));
  assert.equal(lasting.length, 1, "at most one lasting connection");
}

/** The seed with which something goes wrong. */
async function failure(Shared, seeds) {
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      await live(seed, Shared);
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      return error;
    }
  }
}

test("no event is lost, repeated or out of order in any tab, and one connection lasts", async () => {
  const error = await failure(SharedConnection, SEEDS);
  if (error) {
    throw error;
  }
});

/** Each rule, and how it is switched off. */
const RULES = [
  {
    rule: "an event is taken only by who is where it begins",
    edits: [["shared-connection.js", "this.#isIn && told.before === this.#at", "this.#isIn"]],
  },
  {
    rule: "who is elsewhere connects",
    edits: [["shared-connection.js", "else if (this.#isIn && !this.#connection)", "else if (false)"]],
  },
  {
    rule: "who has come to where the leader is disconnects",
    edits: [["shared-connection.js", "if (this.#at === this.#place)", "if (false)"]],
  },
  {
    rule: "the leader connects with the names of all",
    edits: [["shared-connection.js", "events: this.#allNames", "events: this.#names"]],
  },
  {
    rule: "a name that is new to the leader empties what it keeps",
    edits: [["shared-connection.js", "      this.#chain.clear();\n      if", "      if"]],
  },
  {
    rule: "a name that is new to the leader makes it connect anew",
    edits: [["shared-connection.js", "if (this.#at) {", "if (false) {"]],
  },
  {
    rule: "a leader is followed only once it has answered",
    edits: [["tab-channel.js", "if (this.#isAnswered) {", "if (true) {"]],
  },
  {
    rule: "hello is said to a new leader, or else to a silent one",
    edits: [
      ["tab-channel.js", "if (!telling.to) {", "if (false) {"],
      ["tab-channel.js", "this.#silence >= DOUBT", "false"],
    ],
  },
  {
    rule: "a leader that does not answer loses the lock",
    edits: [["shared-connection.js", "this.#leadership.rob()", "{}"]],
  },
  {
    rule: "who was robbed follows",
    edits: [["shared-connection.js", "onRobbed: () => this.#channel.follow()", "onRobbed: () => {}"]],
  },
];

for (const { rule, edits } of RULES) {
  test(`it goes wrong without the rule: ${rule}`, async () => {
    assert.ok(await failure(await edited(edits), SEEDS), "no seed has failed");
  });
}

// One thing after the other.

const gotOf = (tab) => tab.got.join(" ");

/** A world with this many tabs, of which the first leads. */
async function settled(count, options) {
  const world = new World(1);
  const tabs = [];
  for (let index = 0; index < count; index++) {
    tabs.push(await openTab(world, SharedConnection, options));
    await world.pass(1_000);
  }
  return { world, tabs };
}

test("tabs that open one after the other make one request", async () => {
  const { world, tabs } = await settled(8);
  world.publish("a");
  await world.pass(1_000);
  assert.deepEqual(tabs.map(gotOf), tabs.map(() => "a1"));
  assert.deepEqual(tabs.map(({ states }) => states), tabs.map(() => ["connecting", "open"]));
  assert.equal(world.opened, 1);
});

test("who was rendered a little earlier gets what the leader has told since, with no request", async () => {
  const { world } = await settled(1);
  ["a", "b", "c"].forEach((name) => world.publish(name));
  await world.pass(1_000);
  const late = await openTab(world, SharedConnection, { lastEventId: "1" });
  await world.pass(1_000);
  assert.equal(gotOf(late), "b2 c3");
  assert.equal(world.opened, 1);
});

test("when the leader's page goes into the back/forward cache, another one leads at once", async () => {
  const { world, tabs } = await settled(2);
  await tabs[0].putAway();
  world.publish("a");
  await world.pass(1_000); // A leader that is silent is given up much later.
  assert.equal(gotOf(tabs[1]), "a1");
  assert.deepEqual([...world.connections].map(({ tab }) => tab), [tabs[1]]);
  await tabs[0].thaw();
  await world.pass(1_000);
  assert.equal(gotOf(tabs[0]), "a1");
  assert.equal(world.connections.size, 1);
});

test("a name that a tab begins to listen to later comes from then on", async () => {
  const { world, tabs } = await settled(2, { names: ["a"] });
  world.publish("b");
  await world.pass(20_000); // A heartbeat tells that it has passed.
  for (const tab of tabs) {
    tab.names = ["a", "b"];
    await tab.run(() => tab.shared.listen("b"));
    tab.at = world.log.length;
  }
  await world.pass(20_000);
  world.publish("b");
  await world.pass(1_000);
  assert.deepEqual(tabs.map((tab) => tab.got.at(-1)), ["b2", "b2"]);
  assert.equal(world.connections.size, 1);
});

test("an end for good is the leader's own: the next one sees for itself", async () => {
  const { world, tabs } = await settled(2);
  const [connection] = world.connections;
  await tabs[0].run(() => connection.close());
  await world.pass(1_000);
  assert.equal(tabs[0].shared.state, "closed");
  assert.equal(tabs[1].shared.state, "open");
  assert.deepEqual([...world.connections].map(({ tab }) => tab), [tabs[1]]);
});

test("without Web Locks each tab has a connection of its own", async () => {
  const { world } = await settled(0);
  for (let count = 0; count < 2; count++) {
    const tab = new Tab(world);
    tab.globals.navigator = {};
    await join(world, tab, SharedConnection);
  }
  await world.pass(1_000);
  world.publish("a");
  await world.pass(1_000);
  assert.deepEqual(world.tabs.map(gotOf), ["a1", "a1"]);
  assert.equal(world.connections.size, 2);
});

test("tabs share by the stream's URL, without its place and the time of its token", async () => {
  const { world } = await settled(0);
  const urls = [
    "/sse/?token=abc:1t0:sig",
    "/sse/?token=abc:1t9:other&last_event_id=7",
    "/sse/?token=xyz:1t0:sig",
    "/other/?token=abc:1t0:sig",
  ];
  for (const url of urls) {
    await openTab(world, SharedConnection, { url });
    await world.pass(1_000);
  }
  assert.deepEqual([...world.connections].map(({ url }) => url.pathname + url.search), [urls[0], urls[2], urls[3]]);
});

test("tabs of another share have another connection", async () => {
  const { world } = await settled(0);
  for (const share of ["reader-1", "reader-2", "reader-1", undefined]) {
    await openTab(world, SharedConnection, { share });
    await world.pass(1_000);
  }
  assert.deepEqual([...world.connections].map(({ tab }) => world.tabs.indexOf(tab)), [0, 1, 3]);
});

test("what the leader has renewed is what the next one begins with", async () => {
  const { world, tabs } = await settled(3, { url: "/sse/?token=abc:1:x", renewUrl: "/token/?token=abc:1:x" });
  const renew = (tab, token, seconds) =>
    tab.run(() => {
      const answer = { url: `/sse/?token=${token}`, renew_url: `/token/?token=${token}` };
      tab.address.renew({ ...answer, renew_after: seconds });
    });
  await renew(tabs[0], "abc:2:y", 1_000);
  await renew(tabs[2], "abc:3:z", 2_000); // As one that has led meanwhile.
  await world.pass(20_000); // A heartbeat comes.
  await tabs[0].close();
  await tabs[2].run(() => tabs[2].shared.close());
  await world.pass(1_000);
  const [connection] = world.connections;
  assert.equal(connection.tab, tabs[1]);
  assert.equal(connection.url.search, "?token=abc:2:y");
  assert.equal(tabs[1].address.renewUrl, "/token/?token=abc:2:y");
  assert.equal(tabs[2].address.url.search, "?token=abc:3:z", "an older one was taken");
});

test("a URL as rendered is not told: the page may be old", async () => {
  const { world } = await settled(1, {
    url: "/sse/?token=abc:1:x",
    renewUrl: "/token/",
    renewAfter: 1_000,
  });
  const tab = await openTab(world, SharedConnection, { url: "/sse/?token=abc:0:w", renewUrl: "/token/" });
  await world.pass(20_000);
  assert.equal(tab.address.url.search, "?token=abc:0:w");
});
