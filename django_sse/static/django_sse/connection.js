/** @file A stream that is kept up, whatever the network, the server and the page do. */

/** @import { ConnectionHandlers, ConnectionOptions, State, StreamEvent } from "./types.js" */
/** @import { Source, SourceClass } from "./types.js" */

import { Backoff } from "./backoff.js";
import { NativeSource } from "./native-source.js";
import { importFetchSource } from "./on-demand.js";
import { Polling } from "./polling.js";
import { Renewal } from "./renewal.js";
import { asking, ELSEWHERE, isRefusal, probe, streamUrl } from "./requests.js";
import { Wakeups } from "./wakeups.js";
import { MISSED_HEARTBEATS, OPENING_OR_POLLING_SECONDS, OPENING_SECONDS } from "./watchdog.js";
import { RETRYING_SECONDS, Watchdog } from "./watchdog.js";

/** After how many answers in a row that come from elsewhere no other is to be hoped for. */
const DETOURS = 3;

/**
 * One source after the other, each from the last event id of the one before.
 *
 * Handlers may call anything here, so each is called when all else is done.
 */
export class Connection {
  #options;
  #handlers;
  #ask;
  #lastEventId;
  #events;
  #patience; // seconds
  /** @type {State} */
  #state = "closed";

  /** @type {Source | undefined} */
  #source;
  #attempt = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} The wait for the next attempt. */
  #timer;
  #beats = false; // Whether the server sends heartbeats: not every one knows how to.
  #isHeard = false; // Whether the source has brought an event since it last opened.
  #isRenewed = false; // Whether the URL was renewed after a refusal, and nothing came since.
  #detours = 0; // How often in a row the URL has led elsewhere.

  #backoff = new Backoff();
  #watchdog = new Watchdog(() => this.#lose());
  #wakeups;
  #polling;
  /** @type {Renewal | undefined} */
  #renewal;

  /**
   * @param {ConnectionOptions} options
   * @param {ConnectionHandlers} handlers
   */
  constructor(options, handlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#ask = asking(options.withCredentials);
    this.#lastEventId = options.lastEventId;
    this.#events = new Set(options.events).add("heartbeat");
    this.#patience = options.poll > 0 ? OPENING_OR_POLLING_SECONDS : OPENING_SECONDS;
    this.#wakeups = new Wakeups(options.pauseHidden, {
      onAway: () => this.#pause(),
      onBack: () => this.#look(),
      onOnline: () => this.#comeOnline(),
    });
    this.#polling = new Polling(
      options.poll,
      (signal) => this.#ask(this.#url, "application/json", signal, options.fetchOptions?.headers),
      (data) => handlers.onEvent({ type: "message", data, lastEventId: this.#lastEventId }),
    );
    if (options.address.renewUrl) {
      this.#renewal = new Renewal(options.address, this.#ask);
    }
  }

  get state() {
    return this.#state;
  }

  get lastEventId() {
    return this.#lastEventId;
  }

  get #url() {
    return this.#options.address.url;
  }

  open() {
    if (this.#state !== "closed") {
      return;
    }
    this.#wakeups.start();
    if (this.#wakeups.isAway) {
      this.#pause();
    } else {
      this.#resume();
    }
  }

  close() {
    this.#wakeups.stop();
    this.#halt();
    this.#change("closed");
  }

  /** @param {string} type */
  listen(type) {
    this.#events.add(type);
    this.#source?.listen(type);
  }

  // What the page does.

  #pause() {
    this.#halt();
    this.#change("paused");
  }

  #resume() {
    this.#renewal?.start();
    this.#connect();
    this.#change("connecting");
  }

  #look() {
    if (this.#state === "paused") {
      this.#resume();
    } else if (this.#timer !== undefined) {
      this.#connect(); // Somebody is looking: no reason to wait.
    } else {
      this.#watchdog.check();
    }
  }

  #comeOnline() {
    // What was open is most likely dead. Others come online in the same moment.
    this.#backoff.reset();
    this.#retry();
  }

  // From one source to the next.

  #halt() {
    this.#drop();
    this.#polling.stop();
    this.#renewal?.stop();
  }

  #drop() {
    this.#attempt.abort();
    this.#watchdog.stop();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#source?.close();
    this.#source = undefined;
    this.#isHeard = false;
  }

  #retry() {
    this.#drop();
    this.#timer = setTimeout(() => this.#connect(), this.#backoff.next());
    this.#change("reconnecting");
  }

  #connect() {
    this.#drop();
    this.#watchdog.start(this.#patience);
    const { signal } = (this.#attempt = new AbortController());
    this.#makeSource(signal).catch(() => this.#fail(signal, 0));
  }

  /** @param {AbortSignal} signal */
  async #makeSource(signal) {
    if (this.#options.address.isDue) {
      await this.#renewal?.renew(signal);
    }
    const { transport, withCredentials, fetchOptions } = this.#options;
    /** @type {SourceClass} */
    const Source =
      transport === "fetch" ? (await importFetchSource()).FetchSource : NativeSource;
    if (signal.aborted) {
      return;
    }
    const url = this.#url;
    const lastEventId = this.#lastEventId;
    this.#source = new Source(
      streamUrl(url, lastEventId),
      { events: this.#events, withCredentials, fetchOptions, lastEventId },
      {
        onOpen: () => this.#await(),
        onEvent: (event) => this.#take(event),
        onRetry: () => this.#waitForSource(),
        // If the URL was renewed meanwhile, a refusal of the old one says nothing.
        onFail: (status) => this.#fail(signal, status ?? (url === this.#url ? undefined : 0)),
      },
    );
  }

  // What a source does.

  #await() {
    const isWatched = this.#beats || this.#options.poll > 0;
    this.#watchdog.start(isWatched ? this.#patience : 0);
    this.#change("open");
  }

  /** @param {StreamEvent} event */
  #take({ type, data, lastEventId }) {
    this.#watchdog.heard();
    if (!this.#isHeard) {
      this.#succeed();
      if (this.#state !== "open") {
        return; // The page has closed it: the event comes again if it is opened again.
      }
    }
    this.#lastEventId = lastEventId || this.#lastEventId;
    if (type === "heartbeat") {
      this.#beats = true;
      this.#watchdog.start(MISSED_HEARTBEATS * Number(data));
    }
    if (type !== "heartbeat" || this.#options.heartbeats) {
      this.#handlers.onEvent({ type, data, lastEventId: this.#lastEventId });
    }
  }

  #succeed() {
    this.#isHeard = true;
    this.#isRenewed = false;
    this.#detours = 0;
    this.#backoff.succeed();
    this.#polling.stop();
    if (!this.#beats) {
      this.#watchdog.stop(); // Events come through, and nothing says how often they should.
    }
    this.#change("open");
  }

  #waitForSource() {
    this.#isHeard = false;
    this.#watchdog.start(RETRYING_SECONDS);
    this.#polling.fail();
    this.#change("reconnecting");
    this.#handlers.onError({ status: 0, willRetry: true });
  }

  /** The source is silent. */
  #lose() {
    if (this.#isHeard) {
      this.#polling.fail();
      this.#connect();
    } else {
      this.#polling.start(); // Something holds back all that comes.
      this.#retry();
    }
    this.#change("reconnecting");
    this.#handlers.onError({ status: 0, willRetry: true });
  }

  /** @param {AbortSignal} signal @param {number} [known] The status, if the source knows it. */
  async #fail(signal, known) {
    if (signal.aborted) {
      return;
    }
    this.#watchdog.start(this.#patience);
    this.#polling.fail();
    this.#change("reconnecting");
    const url = streamUrl(this.#url, this.#lastEventId);
    const status = known ?? (await probe(this.#ask, url, signal));
    this.#detours = status === ELSEWHERE ? this.#detours + 1 : 0;
    let isFinal = isRefusal(status) || this.#detours >= DETOURS;
    if (isFinal && this.#renewal && !this.#isRenewed) {
      const renewed = await this.#renewal.renew(signal);
      this.#isRenewed = renewed === 200;
      isFinal = isRefusal(renewed);
    }
    if (signal.aborted) {
      return;
    }
    if (isFinal || status === 204) {
      this.close();
    } else {
      this.#retry();
    }
    if (status !== 204) {
      this.#handlers.onError({ status, willRetry: !isFinal });
    }
  }

  /** @param {State} wanted */
  #change(wanted) {
    const state = this.#polling.isOn ? "polling" : wanted;
    if (state !== this.#state) {
      this.#state = state;
      this.#handlers.onState(state);
    }
  }
}
