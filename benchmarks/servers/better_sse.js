/**
 * better-sse: its sessions and channels on Node's own HTTP server, a channel for each group.
 *
 * It speaks the commands of benchmarks/publisher.py on the file descriptor of its second argument,
 * and serves on the listening one of its first; the third is that one's port. An event has the
 * random id that broadcast() makes if none is given. No middleware, no sessions of users.
 */

import { createServer } from "node:http";
import { Socket } from "node:net";
import { createInterface } from "node:readline";

import { createChannel, createSession } from "better-sse";

const [listening, controlling, port] = process.argv.slice(2).map(Number);
const channels = new Map();

function channelOf(name) {
  if (!channels.has(name)) channels.set(name, createChannel());
  return channels.get(name);
}

const server = createServer(async (request, response) => {
  const name = new URL(request.url, "http://127.0.0.1").searchParams.get("group") ?? "ticks";
  channelOf(name).register(await createSession(request, response));
});

/** The same as make_event() of benchmarks/events.py. */
function makeEvent(seq) {
  return {
    seq,
    symbol: "ACME",
    venue: "XNYS",
    bid: 101.25 + (seq % 100) / 100,
    ask: 101.27 + (seq % 100) / 100,
    volume: 18_250 + seq,
    currency: "EUR",
    halted: false,
    time: "2026-01-01T09:30:00.000Z",
    note: "A price of the running session.",
  };
}

function publishToAll(seq, groups) {
  const data = makeEvent(seq);
  if (groups === 1) channelOf("ticks").broadcast(data);
  else for (let number = 0; number < groups; number++) channelOf(`g${number}`).broadcast(data);
}

const control = new Socket({ fd: controlling, readable: true, writable: true });
let paced = { next: 0, end: 0, groups: 1 };

function goOn() {
  if (paced.next < paced.end) publishToAll(paced.next++, paced.groups);
  else control.write("done\n");
}

createInterface({ input: control }).on("line", (line) => {
  const [name, ...numbers] = line.split(" ");
  const [first, count, groups = 1] = numbers.map(Number);
  if (name === "counts") control.write("{}\n");
  else if (name === "ack") goOn();
  else if (name === "paced") {
    paced = { next: first, end: first + count, groups };
    goOn();
  } else {
    for (let seq = first; seq < first + count; seq++) publishToAll(seq, groups);
    control.write("done\n");
  }
});
control.on("close", () => process.exit());

server.listen({ fd: listening }, () => {
  control.write(`${JSON.stringify({ port, headers: {} })}\n`);
});
