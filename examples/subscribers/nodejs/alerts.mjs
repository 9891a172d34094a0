// Prints who is seen where; after a restart it goes on where it stopped.
//
//   node alerts.mjs [ENDPOINT [REPLAY [CURSOR]]]
//
// Every event says its place itself: `seq` rises by one through a publisher's journal, and `epoch` names one opening
// of it. So the cursor is the last seq by epoch, newest epoch last; the replay socket takes it as it is.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Dealer, Subscriber } from "zeromq";

const [endpoint = "tcp://127.0.0.1:5556", replay = "tcp://127.0.0.1:5557", file = "alerts.json"] = process.argv.slice(2);
const cursor = existsSync(file) ? new Map(JSON.parse(readFileSync(file, "utf8"))) : new Map();
let last = [...cursor.values()].at(-1) ?? 0;

function save() {
  writeFileSync(file + ".new", JSON.stringify([...cursor]));
  renameSync(file + ".new", file); // after a crash it holds either the old place or the new
}

function advance(epoch, seq) {
  if ([...cursor.keys()].at(-1) !== epoch) cursor.delete(epoch); // it becomes the newest
  cursor.set(epoch, seq);
  last = seq;
}

function handle(event) {
  if (event.type?.startsWith("identity.") && event.status === "known" && !event.provisional)
    console.log(`${event.captured_at} ${event.camera} ${event.person} (${event.type})`);
}

// Fetches everything behind the cursor, a reply at a time.
async function fetchMissed() {
  const dealer = new Dealer({ linger: 0, receiveTimeout: 3000 });
  dealer.connect(replay);
  try {
    for (let id = 1; ; id++) {
      const place = cursor.size ? { cursor: Object.fromEntries(cursor) } : { since: "beginning" };
      await dealer.send(JSON.stringify({ id, ...place }));
      const [head, ...events] = await dealer.receive();
      const reply = JSON.parse(head);
      if (reply.lost) console.log(`# lost ${reply.lost} events that the journal no longer keeps`);
      for (const event of events) handle(JSON.parse(event));
      advance(reply.epoch ?? "", reply.to ?? 0);
      if (reply.epoch) cursor.delete("");
      save();
      if (reply.done) return;
    }
  } catch (error) {
    console.log(`# nobody answers at ${replay} (${error.code ?? error.message})`);
  } finally {
    dealer.close();
  }
}

const subscriber = new Subscriber();
subscriber.connect(endpoint);
subscriber.subscribe(""); // all topics: then a hole in `seq` is a missed event
subscriber.subscribe("@heads");
await new Promise((resolve) => setTimeout(resolve, 300)); // until the subscription has reached the publisher
await fetchMissed();
console.log("# listening");
for await (const [topic, payload] of subscriber) {
  const name = topic.toString();
  if (name === "@all") continue; // the same events again, many in a message, for our own library
  const event = JSON.parse(payload);
  if (name === "@heads") {
    if (event.seq > last || (event.seq > 0 && event.seq < last)) await fetchMissed();
  } else if (cursor.has(event.epoch) && event.seq <= cursor.get(event.epoch)) {
    continue; // had it
  } else if (event.seq !== last + 1 || (last > 0 && !cursor.has(event.epoch))) {
    await fetchMissed(); // a hole, or a new epoch; this event comes with the rest
  } else {
    handle(event);
    advance(event.epoch, event.seq);
    save();
  }
}
