/** @file A stream by the browser's own EventSource. */

/** @import { SourceHandlers, SourceOptions } from "./types.js" */

export class NativeSource {
  #source;
  #onEvent;
  #types = new Set();

  /**
   * @param {string} url
   * @param {SourceOptions} options
   * @param {SourceHandlers} handlers
   */
  constructor(url, { events, withCredentials }, { onOpen, onEvent, onRetry, onFail }) {
    this.#onEvent = onEvent;
    this.#source = new EventSource(url, { withCredentials });
    this.#source.onopen = onOpen;
    this.#source.onerror = () => {
      // While it is open, this is an event of the server's that is named "error".
      if (this.#source.readyState === EventSource.CONNECTING) {
        onRetry();
      } else if (this.#source.readyState === EventSource.CLOSED) {
        onFail();
      }
    };
    events.forEach(this.listen, this);
  }

  /** @param {string} type */
  listen(type) {
    if (this.#types.has(type)) {
      return;
    }
    this.#types.add(type);
    this.#source.addEventListener(type, ({ data, lastEventId }) => {
      this.#onEvent({ type, data, lastEventId });
    });
  }

  close() {
    this.#source.onopen = this.#source.onerror = null;
    this.#source.close();
  }
}
