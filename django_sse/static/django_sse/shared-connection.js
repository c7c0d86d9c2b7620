/**
 * @file One connection for all tabs that show the same stream.
 *
 * 1. Who holds the Web Lock leads. It has the Connection, and tells the others each event, with the
 *    id before it. They take it if that is where they are, and are then where it ends. So nothing
 *    is lost, repeated or out of order, whoever leads.
 * 2. Who has come, has a new leader or hears nothing says hello: where it is, and what it listens to.
 *    The leader answers with what it has told since then, as far as that is kept, and where it is.
 * 3. Who is elsewhere after that has a Connection of its own, until it comes to where the leader
 *    was at the time of the answer or later. From there it goes on by what was told.
 * 4. A name that is new to the leader may have passed it unheard. So what it has told is kept no
 *    longer, and it connects anew, from where it is.
 * 5. The lock is let go when the page goes away, be it into the back/forward cache. It is taken away
 *    from a leader that does not answer, being frozen. That one follows when it finds out.
 * 6. An end for good is the leader's own. The next one sees for itself: its login may be another.
 * 7. A URL that the leader has renewed is told: that in another's page is as old as the page.
 */

/** @import { Told } from "./chain.js" */
/** @import { Connection } from "./connection.js" */
/** @import { Telling } from "./tab-channel.js" */
/** @import { ConnectionHandlers, ConnectionOptions, State, StreamEvent } from "./types.js" */

import { Chain } from "./chain.js";
import { Leadership } from "./leadership.js";
import { nameOf, TabChannel } from "./tab-channel.js";
import { Wakeups } from "./wakeups.js";

/** A view may begin each stream with events that have no id. They get time to come. */
const SETTLING_MS = 1_000;

export class SharedConnection {
  #options;
  #handlers;
  #Connection;
  #names; // That this tab listens to.
  #allNames; // That those do which it has led, too.
  #at; // Where this tab is; null: it has not begun.
  /** @type {State} */
  #state = "closed";

  #wakeups;
  #leadership;
  #channel;
  #isIn = false; // Taking part: neither closed nor away.
  /** @type {string | null | undefined} Where the leader is. */
  #place;
  #chain = new Chain();
  /** @type {Connection | undefined} The leader's, or that of who is elsewhere. */
  #connection;
  #isSettled = false; // What the stream begins with has come.

  /**
   * @param {ConnectionOptions} options
   * @param {ConnectionHandlers} handlers
   * @param {typeof Connection} ConnectionClass
   */
  constructor(options, handlers, ConnectionClass) {
    this.#options = options;
    this.#handlers = handlers;
    this.#Connection = ConnectionClass;
    this.#names = new Set(options.events);
    this.#allNames = new Set(options.events);
    this.#at = options.lastEventId || null;
    const name = nameOf(options);
    this.#wakeups = new Wakeups(options.pauseHidden, {
      onAway: () => this.#pause(),
      onBack: () => this.#join(),
      onOnline: () => {},
    });
    this.#channel = new TabChannel(name, {
      hello: () => ({ at: this.#at, names: [...this.#names] }),
      onHello: ({ at, names }, from) => {
        this.#admit(names);
        this.#tell(this.#chain.since(at), { to: from });
      },
      onTold: (telling) => this.#learn(telling),
      onSilence: () => this.#leadership.rob(),
    });
    this.#leadership = new Leadership(name, {
      onLead: () => this.#lead(),
      onRobbed: () => this.#channel.follow(),
      onRefused: () => this.#lead(),
    });
  }

  get state() {
    return this.#state;
  }

  get lastEventId() {
    return this.#at ?? "";
  }

  open() {
    if (this.#state === "closed") {
      this.#wakeups.start();
      if (this.#wakeups.isAway) {
        this.#pause();
      } else {
        this.#join();
      }
    }
  }

  close() {
    this.#wakeups.stop();
    this.#leave();
    this.#change("closed");
  }

  /** @param {string} type */
  listen(type) {
    if (this.#names.has(type)) {
      return;
    }
    this.#names.add(type);
    if (this.#channel.isLeading) {
      this.#admit([type]);
    } else {
      this.#allNames.add(type);
      this.#connection?.listen(type);
      this.#channel.hello();
    }
  }

  // Taking part.

  #join() {
    if (this.#isIn) {
      return;
    }
    this.#isIn = true;
    if (navigator.locks && globalThis.BroadcastChannel && !this.#options.fetchOptions?.method) {
      this.#leadership.ask();
      this.#channel.open();
      this.#change("connecting");
    } else {
      this.#lead();
    }
  }

  #pause() {
    this.#leave();
    this.#change("paused");
  }

  #leave() {
    this.#isIn = false;
    this.#disconnect();
    this.#channel.close();
    this.#leadership.leave();
  }

  // To lead.

  #lead() {
    this.#channel.lead();
    this.#chain.clear(); // Another has told it, by other names.
    this.#connect();
    this.#tell([]);
  }

  /** @param {Told[]} told @param {Partial<Telling>} [more] */
  #tell(told, more) {
    const { renewed } = this.#options.address;
    this.#channel.tell({ told, at: this.#at, state: this.#state, renewed, ...more });
  }

  /** @param {string[]} names */
  #admit(names) {
    const added = names.filter((name) => !this.#allNames.has(name));
    if (added.length) {
      added.forEach((name) => this.#allNames.add(name));
      this.#chain.clear();
      if (this.#at) {
        this.#connect();
      } else {
        added.forEach((name) => this.#connection?.listen(name)); // There is nowhere to go on from.
      }
    }
  }

  // To follow.

  /** @param {Telling} telling */
  #learn({ told, at, state, renewed, error }) {
    this.#options.address.keep(renewed);
    this.#place = at;
    if (this.#connection) {
      told.forEach((one) => this.#chain.add(one));
    } else {
      this.#change(state);
      told.forEach((one) => this.#take(one));
      if (error) {
        this.#handlers.onError(error);
      }
    }
    this.#settle();
  }

  /** Go by what is told; where that does not lead to the leader, by a connection. */
  #settle() {
    if (!this.#channel.isFollowing || (this.#connection && !this.#isSettled)) {
      return;
    }
    this.#chain.since(this.#at).forEach((one) => this.#take(one));
    if (this.#at === this.#place) {
      this.#disconnect();
    } else if (this.#isIn && !this.#connection) {
      this.#connect();
    }
  }

  /** @param {Told} told */
  #take(told) {
    if (this.#isIn && told.before === this.#at) {
      this.#at = told.lastEventId;
      this.#deliver(told);
    }
  }

  // The connection of who leads, or is elsewhere.

  #connect() {
    this.#disconnect();
    const options = {
      ...this.#options,
      lastEventId: this.lastEventId,
      events: this.#allNames,
      pauseHidden: false,
      heartbeats: true,
    };
    const connection = new this.#Connection(options, {
      onState: (state) => connection === this.#connection && this.#note(state),
      onEvent: (event) => connection === this.#connection && this.#receive(event),
      onError: (error) => {
        this.#tell([], { error });
        this.#handlers.onError(error);
      },
    });
    this.#connection = connection;
    connection.open();
  }

  #disconnect() {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#isSettled = false;
    connection?.close();
  }

  /** @param {State} state */
  #note(state) {
    if (state === "closed") {
      this.close();
      return;
    }
    this.#change(state);
    this.#tell([]);
    if (state === "open") {
      const connection = this.#connection;
      setTimeout(() => {
        if (connection === this.#connection) {
          this.#isSettled = true;
          this.#settle();
        }
      }, SETTLING_MS);
    }
  }

  /** @param {StreamEvent} event */
  #receive(event) {
    const told = { ...event, before: this.#at };
    this.#at = told.lastEventId;
    if (this.#channel.isLeading) {
      this.#chain.add(told);
      this.#tell([told]);
    }
    this.#deliver(told);
    this.#settle();
  }

  /** @param {Told} told */
  #deliver({ type, data, lastEventId }) {
    if (this.#names.has(type)) {
      this.#handlers.onEvent({ type, data, lastEventId });
    }
  }

  /** @param {State} state */
  #change(state) {
    // That another connection is behind it is no news.
    const isNew = this.#state === "closed" || this.#state === "paused";
    if (state !== this.#state && (isNew || state !== "connecting")) {
      this.#state = state;
      this.#handlers.onState(state);
    }
  }
}
