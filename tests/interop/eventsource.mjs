// Reads a stream with npm's eventsource. Each event is a line of stdout, a JSON list of its type
// and its data: node eventsource.mjs URL TYPE...
import { EventSource } from "eventsource";

const [url, ...types] = process.argv.slice(2);
const source = new EventSource(url);
for (const type of types) {
  source.addEventListener(type, (event) => {
    console.log(JSON.stringify([event.type, event.data]));
  });
}
