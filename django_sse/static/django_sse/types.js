/**
 * @file The interfaces between the modules, for tsc and for the reader. Nothing loads this file;
 * a module names what it needs in an import of JSDoc.
 */

/** @import { Address } from "./address.js" */
/** @import { Connection } from "./connection.js" */

/**
 * One event of a stream, as it came.
 * @typedef {object} StreamEvent
 * @property {string} type The event's name; "message" where it has none.
 * @property {string} data Its data, unparsed.
 * @property {string} lastEventId The last event id as of this event; empty while there is none.
 */

/**
 * @typedef {object} SourceOptions
 * @property {Set<string>} events The names to hear. A source does not change the set.
 * @property {boolean} withCredentials
 * @property {string} lastEventId Where to begin; empty: with what is new. The URL says it too.
 * @property {FetchOptions} [fetchOptions] For the transport "fetch" only.
 */

/**
 * @typedef {object} FetchOptions
 * @property {string} [method]
 * @property {HeadersInit} [headers]
 * @property {BodyInit} [body]
 */

/**
 * What a source calls. After its close() it calls nothing more.
 * @typedef {object} SourceHandlers
 * @property {() => void} onOpen The answer's status and type are those of a stream.
 * @property {(event: StreamEvent) => void} onEvent
 * @property {() => void} onRetry It has lost the stream, and gets it back by itself.
 * @property {(status?: number) => void} onFail It is done for, and has to be made anew. The
 *     status is the answer's, 0 where none came, and undefined where the source cannot know.
 */

/**
 * One stream: NativeSource, FetchSource. It opens when it is made.
 * @typedef {object} Source
 * @property {(type: string) => void} listen Hear events of this name too.
 * @property {() => void} close
 */

/**
 * @typedef {new (url: string, options: SourceOptions, handlers: SourceHandlers) => Source}
 *     SourceClass
 */

/** @typedef {"connecting"|"open"|"reconnecting"|"paused"|"polling"|"closed"} State */

/**
 * @typedef {object} ConnectionOptions
 * @property {Address} address Where the stream is. A connection renews it.
 * @property {string} lastEventId Where to begin; empty: with what is new.
 * @property {Iterable<string>} events The names to hear.
 * @property {boolean} withCredentials
 * @property {string} transport "eventsource" or "fetch".
 * @property {FetchOptions} [fetchOptions]
 * @property {number} poll Seconds between two requests where the stream does not open; 0: none.
 * @property {boolean} pauseHidden
 * @property {string} [share] Whose tabs share: those with another word do not.
 * @property {boolean} [heartbeats] Whether heartbeats are passed on as events.
 */

/**
 * @typedef {object} ErrorDetail
 * @property {number} status The status of the server's answer; 0 where none is known, and 302 where
 *     it was no stream, but what the URL leads to, as a page to log in.
 * @property {boolean} willRetry
 */

/**
 * @typedef {object} ConnectionHandlers
 * @property {(state: State) => void} onState Called when it has changed.
 * @property {(event: StreamEvent) => void} onEvent
 * @property {(detail: ErrorDetail) => void} onError
 */

/**
 * A stream that is kept up: Connection, SharedConnection. It is closed when it is made, and may be
 * opened again after it was closed: it goes on from its last event id.
 * @typedef {object} StreamConnection
 * @property {State} state
 * @property {string} lastEventId
 * @property {() => void} open
 * @property {() => void} close
 * @property {(type: string) => void} listen Hear events of this name too.
 */

/**
 * Of the two, SharedConnection is made of the other one, which it is given.
 * @typedef {new (
 *   options: ConnectionOptions,
 *   handlers: ConnectionHandlers,
 *   ConnectionClass: typeof Connection,
 * ) => StreamConnection} ConnectionClass
 */

export {};
