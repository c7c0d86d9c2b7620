// Parses event streams with npm's eventsource-parser. Each line of stdin is one stream, a JSON
// list of its chunks in base64; each line of stdout is what the parser called back with.
import { createInterface } from "node:readline";
import { createParser } from "eventsource-parser";

function parse(chunks) {
  const found = { events: [], retries: [], comments: [], errors: [] };
  const parser = createParser({
    onEvent: ({ event, data, id }) => found.events.push([event ?? null, data, id ?? null]),
    onRetry: (retry) => found.retries.push(retry),
    onComment: (comment) => found.comments.push(comment),
    onError: (error) => found.errors.push(String(error)),
  });
  const decoder = new TextDecoder();
  for (const chunk of chunks) {
    parser.feed(decoder.decode(Buffer.from(chunk, "base64"), { stream: true }));
  }
  parser.feed(decoder.decode());
  return found;
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(parse(JSON.parse(line)))}\n`);
}
