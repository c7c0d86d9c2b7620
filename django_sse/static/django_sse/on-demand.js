/** @file What is loaded only when it is asked for. */

/**
 * Storages give files other names, and know nothing of imports. So the tag writes into its script
 * where they are. The modules as they are written stand beside one another.
 */
const { shared, fetch } =
  Array.from(globalThis.document?.scripts ?? []).find(({ src }) => src === import.meta.url)
    ?.dataset ?? {};

/** @returns {Promise<typeof import("./shared-connection.js")>} */
export const importSharedConnection = () =>
  shared ? import(shared) : import("./shared-connection.js");

/** @returns {Promise<typeof import("./fetch-source.js")>} */
export const importFetchSource = () =>
  fetch ? import(fetch) : import("./fetch-source.js");
