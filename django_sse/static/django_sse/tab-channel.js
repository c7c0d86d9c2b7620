/** @file What tabs that share a stream tell each other: see shared-connection.js for the rules. */

/** @import { Renewed } from "./address.js" */
/** @import { Told } from "./chain.js" */
/** @import { ConnectionOptions, ErrorDetail, State } from "./types.js" */

/**
 * @typedef {object} Telling What a leader tells.
 * @property {Told[]} told
 * @property {string | null} at Where it is then.
 * @property {State} state
 * @property {Renewed} [renewed] The URL, if it was renewed.
 * @property {ErrorDetail} [error]
 * @property {string} [to] Whom it answers; without: it is for all.
 *
 * @typedef {object} Hello What the others say.
 * @property {string | null} at Where they are.
 * @property {string[]} names What they listen to.
 *
 * @typedef {object} ChannelHandlers
 * @property {() => Hello} hello What to say.
 * @property {(hello: Hello, from: string) => void} onHello To a leader.
 * @property {(telling: Telling) => void} onTold By a leader that has answered, and so knows the names.
 * @property {() => void} onSilence The leader does not answer.
 */

import { streamName } from "./requests.js";

const TICK_MS = 10_000;
/** After so many silent ticks a tab says hello; after so many the leader is given up. */
const [DOUBT, DESPAIR] = [2, 4];

export class TabChannel {
  #name;
  #handlers;
  #id = String(Math.random());
  #isLeading = false;
  /** @type {string | undefined} */
  #leader;
  #isAnswered = false; // By the leader.
  #silence = 0; // Ticks since it was heard.
  /** @type {BroadcastChannel | undefined} */
  #channel;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {string} name @param {ChannelHandlers} handlers */
  constructor(name, handlers) {
    this.#name = name;
    this.#handlers = handlers;
  }

  get isLeading() {
    return this.#isLeading;
  }

  /** Whether there is a leader that has answered. */
  get isFollowing() {
    return this.#isAnswered;
  }

  open() {
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.hello();
  }

  close() {
    this.#forget(false);
    clearInterval(this.#timer);
    this.#channel?.close();
    this.#channel = undefined;
  }

  lead() {
    this.#forget(true);
  }

  follow() {
    this.#forget(false);
    this.hello();
  }

  /**
   * Tell the others. Only what a leader has to tell is of interest.
   * @param {Telling} telling
   */
  tell(telling) {
    if (this.#isLeading) {
      this.#channel?.postMessage({ from: this.#id, ...telling });
    }
  }

  hello() {
    this.#channel?.postMessage({ from: this.#id, hello: this.#handlers.hello() });
  }

  /** @param {boolean} isLeading */
  #forget(isLeading) {
    this.#isLeading = isLeading;
    this.#leader = undefined;
    this.#isAnswered = false;
    this.#silence = 0;
  }

  /** @param {Telling & {from: string, hello?: Hello}} message */
  #hear({ from, hello, ...telling }) {
    if (this.#isLeading && hello) {
      this.#handlers.onHello(hello, from);
    } else if (!this.#isLeading && !hello && [undefined, this.#id].includes(telling.to)) {
      this.#learn(from, telling);
    }
  }

  /** @param {string} from @param {Telling} telling */
  #learn(from, telling) {
    if (from !== this.#leader) {
      this.#leader = from;
      this.#isAnswered = false;
      if (!telling.to) {
        this.hello();
      }
    }
    this.#isAnswered ||= Boolean(telling.to);
    if (this.#isAnswered) {
      this.#silence = 0;
      this.#handlers.onTold(telling);
    }
  }

  #tick() {
    if (!this.#isLeading) {
      this.#silence += 1;
      if (this.#silence >= DESPAIR) {
        this.#handlers.onSilence();
      } else if (this.#silence >= DOUBT) {
        this.hello();
      }
    }
  }
}

/**
 * The name of the channel, and of the lock: tabs with the same one share.
 * @param {ConnectionOptions} options
 */
export function nameOf({ address, share = "", fetchOptions }) {
  const stream = streamName(address.url);
  return `django-sse:${JSON.stringify([share, stream, ...new Headers(fetchOptions?.headers)])}`;
}
