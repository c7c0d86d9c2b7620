/**
 * @file Tabs of a browser and a server, simulated in virtual time and by one seed.
 *
 * A tab has its own globals: they are set while something of it runs. What it is sent waits while it
 * is frozen, and is lost when it is gone.
 */

const REAL = Object.fromEntries(
  ["setTimeout", "clearTimeout", "setInterval", "clearInterval"].map((name) => [name, globalThis[name]]),
);
const KEPT = 60; // Events in the server's history.

/** Numbers from a seed (mulberry32). */
export function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class World {
  now = 0;
  tabs = [];
  /** What the server has published: {n, type}. The place behind an event is its number. */
  log = [];
  connections = new Set();
  opened = 0; // Requests for the stream.
  #tasks = [];
  #order = 0;
  #locks = new Map();
  #channels = new Set();

  /** @param {number} unrest How many of the connections are lost. */
  constructor(seed, unrest = 0) {
    this.unrest = unrest;
    this.random = numbers(seed);
  }

  get live() {
    return this.tabs.filter((tab) => tab.state !== "gone");
  }

  between(low, high) {
    return low + this.random() * (high - low);
  }

  pick(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  /** Have *run* done in *delay* milliseconds, as a task of *tab* or of nobody's. */
  after(delay, tab, run) {
    const task = { time: this.now + delay, order: this.#order++, tab, run };
    this.#tasks.push(task);
    return task;
  }

  cancel(task) {
    this.#tasks = this.#tasks.filter((one) => one !== task);
  }

  /** Let *milliseconds* go by. */
  async pass(milliseconds) {
    const end = this.now + milliseconds;
    for (;;) {
      let next;
      for (const task of this.#tasks) {
        if (!next || task.time < next.time || (task.time === next.time && task.order < next.order)) {
          next = task;
        }
      }
      if (!next || next.time > end) {
        break;
      }
      this.cancel(next);
      this.now = next.time;
      await this.#perform(next);
    }
    this.now = end;
  }

  async #perform({ tab, run }) {
    if (!tab) {
      run();
    } else if (tab.state === "frozen") {
      tab.waiting.push(run);
    } else if (tab.state === "running") {
      await tab.run(run);
    }
  }

  // What tabs share.

  publish(type) {
    this.log.push({ n: this.log.length + 1, type });
    for (const connection of this.connections) {
      connection.pump();
    }
  }

  get oldest() {
    return Math.max(0, this.log.length - KEPT);
  }

  request(tab, name, { signal, steal }, hold) {
    const lock = this.#locks.get(name) ?? { queue: [] };
    this.#locks.set(name, lock);
    return new Promise((resolve, reject) => {
      const request = { tab, hold, resolve, reject };
      const refuse = () => {
        const error = Object.assign(new Error("refused"), { name: "AbortError" });
        this.after(this.between(0, 5), tab, () => reject(error));
      };
      if (steal) {
        const robbed = lock.held;
        this.#grant(lock, request);
        robbed?.refuse();
      } else {
        lock.queue.push(request);
        this.#next(lock);
      }
      request.refuse = refuse;
      signal?.addEventListener("abort", () => {
        if (lock.queue.includes(request)) {
          lock.queue.splice(lock.queue.indexOf(request), 1);
          refuse();
        }
      });
    });
  }

  #next(lock) {
    if (!lock.held && lock.queue.length) {
      this.#grant(lock, lock.queue.shift());
    }
  }

  #grant(lock, request) {
    lock.held = request;
    const release = () => {
      if (lock.held === request) {
        lock.held = undefined;
        this.#next(lock);
        request.resolve();
      }
    };
    this.after(this.between(0, 5), request.tab, () => request.hold({}).then(release));
  }

  /** The browser's own, for a page that is gone. */
  release(tab) {
    for (const lock of this.#locks.values()) {
      lock.queue = lock.queue.filter((request) => request.tab !== tab);
      if (lock.held?.tab === tab) {
        lock.held = undefined;
        this.#next(lock);
      }
    }
    for (const channel of this.#channels) {
      if (channel.tab === tab) {
        this.#channels.delete(channel);
      }
    }
    for (const connection of this.connections) {
      if (connection.tab === tab) {
        this.connections.delete(connection);
      }
    }
  }

  channelOf(tab) {
    const world = this;
    return class {
      tab = tab;
      arrivals = new Map();
      constructor(name) {
        this.name = name;
        world.#channels.add(this);
      }
      postMessage(data) {
        if (!world.#channels.has(this)) {
          throw new Error("InvalidStateError: the channel is closed");
        }
        const copy = structuredClone(data);
        for (const other of world.#channels) {
          if (other !== this && other.name === this.name) {
            // In order from one tab to another, and in no order otherwise.
            const time = Math.max(world.now + world.between(0, 40), other.arrivals.get(this) ?? 0);
            other.arrivals.set(this, time);
            world.after(time - world.now, other.tab, () => {
              if (world.#channels.has(other)) {
                other.onmessage({ data: copy });
              }
            });
          }
        }
      }
      close() {
        world.#channels.delete(this);
      }
    };
  }
}

/** A tab: its globals, its events and its tasks. */
export class Tab {
  state = "running";
  waiting = [];
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { hidden: false, baseURI: "https://example.com/" });
  #timers = new Map();

  constructor(world) {
    this.world = world;
    const timer = (run, delay, again) => {
      const id = Symbol("timer");
      const go = () => {
        if (this.#timers.has(id)) {
          if (again) {
            this.#timers.set(id, world.after(delay, this, go));
          } else {
            this.#timers.delete(id);
          }
          run();
        }
      };
      this.#timers.set(id, world.after(delay, this, go));
      return id;
    };
    this.globals = {
      document: this.document,
      addEventListener: this.window.addEventListener.bind(this.window),
      navigator: { locks: { request: (...args) => this.#request(args) } },
      BroadcastChannel: world.channelOf(this),
      setTimeout: (run, delay) => timer(run, delay, false),
      setInterval: (run, delay) => timer(run, delay, true),
      clearTimeout: (id) => this.#timers.delete(id),
      clearInterval: (id) => this.#timers.delete(id),
    };
    world.tabs.push(this);
  }

  #request([name, options, hold]) {
    return this.world.request(this, name, options, hold);
  }

  /** Run as the tab, with all promises that this fulfils. */
  async run(task) {
    for (const [name, value] of Object.entries(this.globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    task();
    for (let turn = 0; turn < 12; turn++) {
      await null;
    }
    Object.assign(globalThis, REAL);
  }

  async freeze({ isTold }) {
    if (isTold) {
      await this.run(() => this.document.dispatchEvent(new Event("freeze")));
    }
    this.state = "frozen";
  }

  /** Into the back/forward cache. */
  async putAway() {
    await this.run(() => this.window.dispatchEvent(new Event("pagehide")));
    this.state = "frozen";
    this.isAway = true;
  }

  async thaw() {
    this.state = "running";
    const waiting = this.waiting.splice(0);
    const event = this.isAway ? [this.window, "pageshow"] : [this.document, "resume"];
    this.isAway = false;
    if (this.world.random() < 0.5) {
      await this.run(() => event[0].dispatchEvent(new Event(event[1])));
    } else {
      waiting.push(() => event[0].dispatchEvent(new Event(event[1])));
    }
    for (const task of waiting) {
      await this.run(task);
    }
  }

  async close() {
    await this.run(() => this.window.dispatchEvent(new Event("pagehide")));
    this.crash();
  }

  crash() {
    this.state = "gone";
    this.world.release(this);
  }
}

/**
 * A Connection as a browser's would be: a name that is not listened to passes unheard, but counts
 * where the browser reconnects by itself.
 */
export function connectionOf(tab) {
  const { world } = tab;
  return class {
    tab = tab;
    state = "closed";
    #handlers;
    #names;
    #seen; // The browser's own last event id.
    #sent; // The server's.
    #attempt = 0;
    #arrival = 0;

    constructor({ address, lastEventId, events, heartbeats }, handlers) {
      this.url = address.url;
      this.lastEventId = lastEventId;
      this.#names = new Set(events);
      this.#handlers = handlers;
      this.heartbeats = heartbeats;
    }

    open() {
      world.connections.add(this);
      this.#seen = this.lastEventId;
      this.#change("connecting");
      this.#start();
    }

    close() {
      this.#attempt += 1;
      world.connections.delete(this);
      this.#change("closed");
    }

    listen(name) {
      this.#names.add(name);
    }

    #change(state) {
      if (state !== this.state) {
        this.state = state;
        this.#handlers.onState(state);
      }
    }

    #start() {
      const attempt = ++this.#attempt;
      this.isServed = false;
      world.opened += 1;
      world.after(world.between(1, 300), undefined, () => {
        if (attempt !== this.#attempt || tab.state === "gone") {
          return;
        }
        this.isServed = true;
        const head = world.log.length;
        const from = this.#seen === "" ? head : Number(this.#seen);
        this.#send(() => this.#change("open"));
        if (from < world.oldest) {
          this.#sent = head;
          this.#event({ type: "reset", n: head });
        } else {
          this.#sent = from;
        }
        this.#beat(attempt);
        this.pump();
        if (world.random() < world.unrest) {
          world.after(world.between(100, 60_000), undefined, () => this.#lose(attempt));
        }
      });
    }

    #lose(attempt) {
      if (attempt === this.#attempt) {
        this.#attempt += 1;
        this.isServed = false;
        world.after(0, tab, () => {
          if (world.connections.has(this)) {
            this.#change("reconnecting");
            this.#start();
          }
        });
      }
    }

    #beat(attempt) {
      if (attempt === this.#attempt) {
        this.#event({ type: "heartbeat", n: this.#sent });
        world.after(15_000, undefined, () => this.#beat(attempt));
      }
    }

    pump() {
      while (this.isServed && this.#sent < world.log.length) {
        this.#sent += 1;
        this.#event(world.log[this.#sent - 1]);
      }
    }

    #event({ type, n }) {
      this.#send(() => {
        this.#seen = String(n);
        if (type === "heartbeat" || this.#names.has(type)) {
          this.lastEventId = String(n);
          this.#handlers.onEvent({ type, data: `${n}`, lastEventId: this.lastEventId });
        }
      });
    }

    #send(run) {
      const attempt = this.#attempt;
      this.#arrival = Math.max(this.#arrival, world.now + world.between(0, 30));
      world.after(this.#arrival - world.now, tab, () => attempt === this.#attempt && run());
    }
  };
}
