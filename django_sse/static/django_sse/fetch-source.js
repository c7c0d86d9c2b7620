/**
 * @file A stream by fetch(): for what EventSource cannot do, a method, headers and a body.
 *
 * It does as EventSource does: a stream that ends or breaks is asked for again after `retry:`, with
 * the last event id; an answer that is no stream is a failure.
 *
 * What may have an effect, any method but GET and HEAD, is not sent twice: nobody wants to pay for
 * a model's answer again. When its stream has ended that is as after a 204. It is sent again only
 * where nothing was done, the server having refused it (4xx, 503), or where the stream has given an
 * id to go on from. A page that wants another answer sets other `fetchOptions`.
 */

/** @import { FetchOptions, SourceHandlers, SourceOptions } from "./types.js" */

import { isStream, statusOf, streamName } from "./requests.js";
import { createParser } from "./vendor/eventsource-parser.js";

const RETRY_MS = 3_000;

/**
 * Those that were sent, and to which streams with which last event id.
 * @type {WeakMap<FetchOptions, Map<string, string>>}
 */
const sent = new WeakMap();

export class FetchSource {
  #url;
  #options;
  #handlers;
  #events;
  #lastEventId;
  #retryMs = RETRY_MS;
  #ending = new AbortController();

  /**
   * @param {string} url
   * @param {SourceOptions} options
   * @param {SourceHandlers} handlers
   */
  constructor(url, options, handlers) {
    this.#url = url;
    this.#options = options;
    this.#handlers = handlers;
    this.#events = new Set(options.events);
    this.#lastEventId = options.lastEventId;
    this.#run();
  }

  /** @param {string} type */
  listen(type) {
    this.#events.add(type);
  }

  close() {
    this.#ending.abort();
  }

  async #run() {
    const { signal } = this.#ending;
    await null; // As with EventSource, nothing is called before it is made.
    while (!signal.aborted) {
      if (this.#isSpent()) {
        this.#fail(204);
        return;
      }
      const response = await this.#request();
      if (!response || !isStream(response)) {
        this.#fail(response ? statusOf(response) : 0);
        return;
      }
      if (signal.aborted) {
        return;
      }
      this.#handlers.onOpen();
      const isWhole = await this.#read(response);
      if (this.#isSpent()) {
        this.#fail(isWhole ? 204 : 0); // A break is an error, and then the end.
        return;
      }
      await this.#rest();
    }
  }

  /** @param {number} status */
  #fail(status) {
    if (!this.#ending.signal.aborted) {
      this.close();
      this.#handlers.onFail(status);
    }
  }

  /** Whether the request has had its effect, and there is no id to go on from. */
  #isSpent() {
    const ids = sent.get(this.#options.fetchOptions ?? {});
    return ids?.get(streamName(this.#url)) === this.#lastEventId;
  }

  /** The answer; undefined where there is none. */
  async #request() {
    const { fetchOptions = {}, withCredentials } = this.#options;
    const headers = new Headers(fetchOptions.headers);
    headers.set("Accept", "text/event-stream");
    if (this.#lastEventId) {
      headers.set("Last-Event-ID", asBytes(this.#lastEventId));
    }
    const hasEffect = !["GET", "HEAD"].includes((fetchOptions.method ?? "GET").toUpperCase());
    const ids = sent.get(fetchOptions) ?? new Map();
    if (hasEffect) {
      sent.set(fetchOptions, ids.set(streamName(this.#url), this.#lastEventId));
    }
    try {
      const response = await fetch(this.#url, {
        ...fetchOptions,
        headers,
        credentials: withCredentials ? "include" : "same-origin",
        cache: "no-store",
        signal: this.#ending.signal,
      });
      if (response.status === 503 || (response.status >= 400 && response.status < 500)) {
        ids.delete(streamName(this.#url));
      }
      return response;
    } catch {
      return undefined;
    }
  }

  /**
   * Read to the end; return whether the server has ended it.
   * @param {Response} response
   */
  async #read({ body }) {
    const parser = createParser({
      onEvent: (/** @type {{id?: string, event?: string, data: string}} */ event) => {
        this.#call(event);
      },
      onRetry: (/** @type {number} */ milliseconds) => {
        this.#retryMs = milliseconds;
      },
    });
    const decoder = new TextDecoder();
    const reader = body?.getReader();
    try {
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true };
        if (done) {
          return true;
        }
        parser.feed(decoder.decode(value, { stream: true }));
      }
    } catch {
      return false;
    }
  }

  /** @param {{id?: string, event?: string, data: string}} event */
  #call({ id: lastEventId = this.#lastEventId, event: type = "message", data }) {
    this.#lastEventId = lastEventId;
    if (this.#events.has(type) && !this.#ending.signal.aborted) {
      try {
        this.#handlers.onEvent({ type, data, lastEventId });
      } catch (error) {
        reportError(error); // As of a listener. The stream goes on.
      }
    }
  }

  /** Wait until it is time to ask again. */
  async #rest() {
    const { signal } = this.#ending;
    if (!signal.aborted) {
      this.#handlers.onRetry();
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, this.#retryMs);
        signal.addEventListener("abort", () => {
          clearTimeout(timer);
          resolve(undefined);
        });
      });
    }
  }
}

/**
 * A header's value is bytes, given as characters.
 * @param {string} text
 */
function asBytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
