/** @file Asking the server, beside the stream. */

/**
 * @callback Ask
 * @param {string | URL} url
 * @param {string} accept
 * @param {AbortSignal} signal
 * @param {HeadersInit} [more] Headers.
 * @returns {Promise<Response>}
 */

/** @param {boolean} withCredentials @returns {Ask} */
export const asking = (withCredentials) => (url, accept, signal, more) => {
  const headers = new Headers(more);
  headers.set("Accept", accept);
  const credentials = withCredentials ? "include" : "same-origin";
  return fetch(url, { headers, credentials, cache: "no-store", signal });
};

/**
 * The URL of a stream with what the server is told.
 * @param {URL} url
 * @param {string} lastEventId
 */
export function streamUrl(url, lastEventId) {
  const whole = new URL(url);
  whole.searchParams.set("heartbeat", "event"); // Scripts do not see comments.
  if (lastEventId) {
    // As of now. Where the browser reconnects, its header Last-Event-ID goes before it.
    whole.searchParams.set("last_event_id", lastEventId);
  }
  return whole.href;
}

/**
 * The URL without what is no part of which stream it is: a place in it, and when a token was signed.
 * @param {string | URL} url
 */
export function streamName(url) {
  const whole = new URL(url);
  const { searchParams } = whole;
  searchParams.delete("heartbeat");
  searchParams.delete("last_event_id");
  if (searchParams.has("token")) {
    // Its first part says who may read what.
    searchParams.set("token", String(searchParams.get("token")).split(":")[0]);
  }
  return whole.href;
}

/** How an answer counts that comes from elsewhere: a page to log in, or a network's own. */
export const ELSEWHERE = 302;

/** @param {Response} response */
export const typeOf = ({ headers }) => headers.get("Content-Type") ?? "";

/** @param {Response} response */
export const isStream = (response) =>
  response.status === 200 && /^text\/event-stream\b/i.test(typeOf(response));

/**
 * The status of an answer to whoever has asked for a stream.
 * @param {Response} response
 */
export const statusOf = (response) =>
  response.ok && response.redirected && !isStream(response) ? ELSEWHERE : response.status;

/**
 * Return the status of a stream that EventSource does not tell; 0 where there is no answer.
 * @param {Ask} ask
 * @param {string} url
 * @param {AbortSignal} signal
 */
export async function probe(ask, url, signal) {
  try {
    const response = await ask(url, "text/event-stream", signal);
    await response.body?.cancel();
    return statusOf(response);
  } catch {
    return 0;
  }
}

/**
 * Whether asking again is of no use.
 * @param {number} status
 */
export const isRefusal = (status) =>
  status >= 400 && status < 500 && ![408, 425, 429].includes(status);
