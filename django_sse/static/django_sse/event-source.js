/** @file Defines <event-source>. */

import { ServerSentEvent } from "./delivery.js";
import { EventSourceElement } from "./element.js";

// The page may load this file by two names, with and without a hash.
if (!customElements.get("event-source")) {
  customElements.define("event-source", EventSourceElement);
}

export { EventSourceElement, ServerSentEvent };
