/** @file The element: a connection's events as DOM events, and its state as an attribute. */

/** @import { ConnectionClass, ConnectionHandlers, ConnectionOptions } from "./types.js" */
/** @import { FetchOptions, State, StreamConnection, StreamEvent } from "./types.js" */

import { Address } from "./address.js";
import { ATTRIBUTES, propertyOf, ReflectingElement } from "./attributes.js";
import { Connection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { importSharedConnection } from "./on-demand.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;
/** Heard without being asked for. */
const ALWAYS = ["message", "reset", "broadcast"];
/** The element's own: the server's of such a name are not dispatched. */
const OWN = ["open", "error", "statechange", "heartbeat"];
/** Of these the address is made. */
const ADDRESS = ["src", "renew-url", "renew-after"];
const PROPERTIES = [...Object.keys(ATTRIBUTES).map(propertyOf), "fetchOptions"];
const UPWARDS = { bubbles: true, composed: true };
/** @returns {Promise<ConnectionClass>} */
const sharedConnection = () =>
  importSharedConnection().then(
    ({ SharedConnection }) => SharedConnection,
    () => Connection, // One of its own is better than none.
  );

export class EventSourceElement extends ReflectingElement {
  static observedAttributes = Object.keys(ATTRIBUTES);

  static {
    for (const [name, value] of Object.entries({ CONNECTING, OPEN, CLOSED })) {
      Object.defineProperty(this, name, { value, enumerable: true });
      Object.defineProperty(this.prototype, name, { value, enumerable: true });
    }
  }

  /** @type {State} */
  #state = "closed";
  /** @type {FetchOptions | undefined} */
  #fetchOptions;
  #delivery = new Delivery(this);
  /** @type {Set<string>} What addEventListener() was called with. */
  #types = new Set();

  /** @type {StreamConnection | undefined} It is kept while closed: it knows where to go on. */
  #connection;
  /** @type {Address | undefined} It is kept while it is the same stream: it may have been renewed. */
  #address;
  #lastEventId = "";
  #begin = ""; // What last-event-id was set to since.
  #isWanted = false;
  /** @type {Set<string>} The attributes that have changed since the connection was made. */
  #changed = new Set();
  #making = {};

  // The platform's callbacks.

  connectedCallback() {
    PROPERTIES.forEach(this.#upgrade, this);
    this.setAttribute("state", this.#state); // A clone has brought its original's.
    this.#delivery.resume();
    this.open();
  }

  disconnectedCallback() {
    this.#delivery.suspend();
    this.close();
  }

  /** By moveBefore() an element is moved without being disconnected. */
  connectedMoveCallback() {}

  /**
   * @param {string} name
   * @param {string | null} old
   * @param {string | null} value
   */
  attributeChangedCallback(name, old, value) {
    if (old === value) {
      return;
    }
    if (name === "swap" || name === "target") {
      this.#delivery.configure();
      this.#listen();
    } else if (name === "events") {
      this.#listen();
    } else if (name === "last-event-id") {
      this.#begin = value ?? "";
    } else if (name !== "parse" && name !== "reload-url") {
      this.#change(name);
    }
  }

  // The interface.

  get state() {
    return this.#state;
  }

  get readyState() {
    return this.#state === "open" ? OPEN : this.#state === "closed" ? CLOSED : CONNECTING;
  }

  /** The last event id as of now. To set it is to say where to begin. */
  get lastEventId() {
    const begins = this.#lastEventId || this.getAttribute("last-event-id") || "";
    return this.#connection?.lastEventId ?? begins;
  }

  set lastEventId(id) {
    this.setAttribute("last-event-id", id);
  }

  /** Of the transport "fetch": method, headers and body of its requests. */
  get fetchOptions() {
    return this.#fetchOptions;
  }

  set fetchOptions(options) {
    this.#fetchOptions = options;
    this.#change("fetchOptions");
  }

  /** Open the stream, or open it again where it was closed. Nothing happens outside a document. */
  open() {
    this.#isWanted = this.isConnected && this.src !== "";
    if (!this.#isWanted) {
      this.close();
    } else if (this.#changed.size) {
      this.#connect().catch((error) => this.#refuse(error));
    } else {
      this.#connection?.open();
    }
  }

  /** Close the stream, until open() is called or the element is put into a document again. */
  close() {
    this.#isWanted = false;
    this.#connection?.close();
  }

  /**
   * As of every element. An EventSource hears a name only when it is told to: so it is told.
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, /** @type {EventListener} */ (listener), options);
    this.#types.add(type);
    this.#listen();
  }

  // From attributes to a connection.

  /**
   * A property that was set before the element was defined hides the accessor.
   * @param {string} name
   */
  #upgrade(name) {
    const value = Object.getOwnPropertyDescriptor(this, name)?.value;
    if (Reflect.deleteProperty(this, name) && value !== undefined) {
      Reflect.set(this, name, value);
    }
  }

  /** @param {string} name What has changed, maybe with others in this task. */
  #change(name) {
    this.#changed.add(name);
    queueMicrotask(() => this.#apply());
  }

  #apply() {
    if (this.#changed.has("src") || (this.#isWanted && this.#changed.size)) {
      this.open();
    }
  }

  async #connect() {
    const making = (this.#making = {});
    const old = this.#connection;
    this.#lastEventId = this.#beginning();
    this.#connection = undefined;
    this.#begin = "";
    if (ADDRESS.some((name) => this.#changed.has(name))) {
      this.#address = undefined;
    }
    this.#changed.clear();
    old?.close();
    const address = (this.#address ??= new Address(this.src, this.renewUrl, this.renewAfter));
    const Kind = this.shared ? await sharedConnection() : Connection;
    if (making !== this.#making) {
      return; // Something has changed again.
    }
    /** @type {ConnectionHandlers} */
    const handlers = {
      onState: (state) => this.#show(state),
      onEvent: (event) => this.#receive(event),
      onError: (detail) => this.dispatchEvent(new CustomEvent("error", { detail })),
    };
    this.#connection = new Kind(this.#options(address), handlers, Connection);
    if (this.#isWanted) {
      this.#connection.open();
    }
  }

  /** Another stream begins anew; the same one, by other means, goes on. */
  #beginning() {
    const here = this.#connection?.lastEventId ?? this.#lastEventId;
    return this.#changed.has("src") ? this.#begin : here;
  }

  /** @param {unknown} error Of an attribute's: nothing can be opened. */
  #refuse(error) {
    reportError(error);
    this.dispatchEvent(new CustomEvent("error", { detail: { status: 0, willRetry: false } }));
  }

  /** @param {Address} address @returns {ConnectionOptions} */
  #options(address) {
    const { transport, withCredentials, poll, pauseHidden } = this;
    return {
      address,
      lastEventId: this.#lastEventId,
      events: this.#names(),
      withCredentials,
      transport,
      fetchOptions: this.#fetchOptions,
      poll,
      pauseHidden,
      share: this.getAttribute("shared") ?? "",
    };
  }

  #names() {
    const asked = this.events.split(/[\s,]+/).filter(Boolean);
    const all = new Set([...ALWAYS, ...asked, ...this.#delivery.names, ...this.#types]);
    OWN.forEach((type) => all.delete(type));
    return all;
  }

  #listen() {
    this.#names().forEach((type) => this.#connection?.listen(type));
  }

  // From a connection to the page.

  /** @param {State} state */
  #show(state) {
    const previous = this.#state;
    this.#state = state;
    this.setAttribute("state", state);
    const change = { ...UPWARDS, detail: { state, previous } };
    this.dispatchEvent(new CustomEvent("statechange", change));
    if (state === "open" && this.#state === "open") {
      this.dispatchEvent(new CustomEvent("open", UPWARDS));
    }
  }

  /** @param {StreamEvent} event */
  #receive(event) {
    if (this.#names().has(event.type)) {
      this.#delivery.take(event);
    }
  }
}
