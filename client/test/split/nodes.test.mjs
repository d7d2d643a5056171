// Two people in two browsers, each on a messaging node of its own, while one of
// the nodes is killed and comes back. test/split.sh starts it all. Settings,
// beside those of the rig:
//   NOVA_URL, NOVA_URL_TWO  the two sides, each of which prefers another node
//   NOVA_KILL_CMD           kills the node of the first side
//   NOVA_START_CMD          starts it again; ends when it is ready

import assert from "node:assert/strict";
import { exec } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { Rig } from "../browser/rig.mjs";

const rig = new Rig();
const run = promisify(exec);
const suffix = Date.now().toString(36);
const alice = { username: `alice-${suffix}`, name: "Alice Moreau" };
const bob = { username: `bob-${suffix}`, name: "Bob Lindqvist" };

before(() => rig.start());
after(() => rig.stop());

test("two people chat over two nodes, one of which dies and comes back", { timeout: 180_000 }, async () => {
  const a = await rig.window();
  const b = await rig.window({ colorScheme: "dark" }, process.env.NOVA_URL_TWO);
  await a.register(alice);
  await b.register(bob);
  await a.find(bob.username);
  const said = [];
  const say = async (who, text) => {
    said.push(text);
    await who.say(text);
  };
  await say(a, "Are you on the other machine?");
  await b.room(alice.name).click();
  await b.sees("Are you on the other machine?");
  await say(b, "I am. Shall we see what it takes?");
  await a.sees("I am. Shall we see what it takes?");

  await run(process.env.NOVA_KILL_CMD);
  for (let i = 1; i <= 5; i++) {
    await say(a, `While it is dead, from the one ${i}`);
    await say(b, `While it is dead, from the other ${i}`);
  }
  await Promise.all([a.live(), b.live()]);
  await b.sees("While it is dead, from the one 5");
  await a.sees("While it is dead, from the other 5");
  await a.picture("20-one-node-dead");

  await run(process.env.NOVA_START_CMD);
  for (let i = 1; i <= 5; i++) {
    await say(a, `It is back, from the one ${i}`);
    await say(b, `It is back, from the other ${i}`);
  }
  await b.sees("It is back, from the one 5");
  await a.sees("It is back, from the other 5");
  await a.tick("It is back, from the one 5", "delivered", "read");

  // Nothing is missing, nothing is twice, and both see one order; also afterwards.
  for (const reload of [false, true]) {
    if (reload) {
      await Promise.all([a.page.reload(), b.page.reload()]);
      await Promise.all([a.live(), b.live()]);
      // The newest comes with the conversation, the others by a page of history.
      for (const text of [said[0], said.at(-1), "It is back, from the one 5"]) {
        await Promise.all([a.sees(text), b.sees(text)]);
      }
    }
    const [here, there] = [await a.texts(), await b.texts()];
    assert.deepEqual(here, there);
    assert.deepEqual([...here].sort(), [...said].sort());
  }
  await b.picture("21-both-nodes-dark");
  assert.deepEqual(rig.complaints, []);
});
