import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import { Problem, SignedOut, Unreachable } from "./problem.ts";
import { Rig, theirs } from "./rig.ts";
import type { Conversation } from "./wire.ts";

const listed = (last_seq: number): Conversation => ({
  id: "K",
  kind: "direct",
  members: [],
  last_seq,
  read_seq: 0,
  created_at: "2026-01-01T00:00:00.000Z",
});

let rig: Rig;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  rig = new Rig();
  rig.sync.connection.start();
});
afterEach(() => {
  rig.sync.stop();
  mock.timers.reset();
});

async function pass(ms: number): Promise<void> {
  await rig.settle();
  mock.timers.tick(ms);
  await rig.settle();
}

describe("hello", () => {
  it("carries the ticket and, the first time, no resume", async () => {
    const socket = await rig.live();
    assert.deepEqual(socket.of("hello"), [{ op: "hello", id: "q1", ticket: "T" }]);
    assert.equal(rig.phase, "live");
    assert.equal(rig.lives, 1);
  });
  it("waits and tries again while there is no ticket to be had", async () => {
    rig.sync.stop();
    rig.ticket = () => Promise.reject(new Unreachable());
    rig.sync.connection.start();
    await pass(0);
    assert.equal(rig.phase, "waiting");
    rig.ticket = () => Promise.resolve("T");
    await pass(60_000);
    await rig.live();
    assert.equal(rig.phase, "live");
  });
  it("keeps to retry_after_ms", async () => {
    rig.sync.stop();
    rig.ticket = () => Promise.reject(new Problem(429, { code: "rate_limited", retry_after_ms: 9_000 }));
    rig.sync.connection.start();
    await pass(8_900);
    assert.equal(rig.phase, "waiting");
  });
  it("ends when the session has", async () => {
    rig.sync.stop();
    rig.ticket = () => Promise.reject(new SignedOut());
    rig.sync.connection.start();
    await pass(0);
    assert.deepEqual(rig.sync.connection.status, { phase: "ended", verdict: "signed_out", code: 4401 });
  });
});

describe("resume", () => {
  it("names the epoch and the last seq without a gap before it", async () => {
    rig.history = () => {
      throw new Unreachable();
    };
    rig.sync.known(listed(2));
    const first = await rig.live();
    first.say({ op: "message", message: theirs(3) });
    first.say({ op: "message", message: theirs(5) });
    first.end(1006);
    await pass(1_000);
    const second = await rig.welcome();
    assert.deepEqual(second.of("hello")[0]?.resume, { epoch: "E", conversations: { K: 3 } });
    [3, 4, 5].forEach((seq) => second.say({ op: "message", message: theirs(seq) }));
    second.say({ op: "live" });
    assert.deepEqual(rig.bodies(), ["text 3", "text 4", "text 5"]);
    assert.deepEqual([...rig.arrived].sort(), [3, 4, 5]);
    assert.deepEqual(second.of("ack").at(-1), { op: "ack", conversation_id: "K", seq: 5 });
  });
  it("throws everything away on resync, and a single conversation when it is named", async () => {
    rig.sync.known(listed(2));
    const socket = await rig.live();
    socket.say({ op: "resync", reason: "retention", conversation_id: "K" });
    assert.equal(rig.sync.timeline("K"), undefined);
    rig.sync.known(listed(2));
    socket.say({ op: "resync", reason: "epoch" });
    assert.equal(rig.sync.timeline("K"), undefined);
    assert.deepEqual(rig.resyncs, ["K", undefined]);
  });
  it("reloads after 4051 instead of resuming from what is here", async () => {
    rig.sync.known(listed(2));
    (await rig.live()).end(4051);
    assert.deepEqual(rig.resyncs, [undefined]);
    await pass(1_000);
    const second = await rig.welcome();
    assert.deepEqual(second.of("hello")[0]?.resume?.conversations, {});
  });
});

describe("gaps", () => {
  it("are filled from history after a moment", async () => {
    rig.sync.known(listed(1));
    rig.history = () => ({ items: [theirs(2), theirs(3), theirs(4)], next_cursor: null });
    const socket = await rig.live();
    socket.say({ op: "message", message: theirs(4) });
    assert.deepEqual(rig.bodies(), []);
    await pass(1_000);
    assert.deepEqual(rig.asked, [{ id: "K", where: { after_seq: 1 } }]);
    assert.deepEqual(rig.bodies(), ["text 2", "text 3", "text 4"]);
  });
  it("that close by themselves ask nothing: a sent may overtake", async () => {
    rig.sync.known(listed(1));
    const socket = await rig.live();
    rig.sync.send("K", "mine");
    rig.accept(3);
    socket.say({ op: "message", message: theirs(2) });
    await pass(1_000);
    assert.deepEqual(rig.asked, []);
    assert.deepEqual(rig.bodies(), ["text 2", "mine"]);
  });
  it("are noticed by a pong", async () => {
    rig.sync.known(listed(1));
    rig.history = () => ({ items: [theirs(2)], next_cursor: null });
    (await rig.live()).say({ op: "pong", conversations: { K: 2 } });
    await pass(1_000);
    assert.deepEqual(rig.bodies(), ["text 2"]);
  });
  it("are asked for again when history fails", async () => {
    rig.sync.known(listed(1));
    rig.history = () => {
      throw new Unreachable();
    };
    (await rig.live()).say({ op: "message", message: theirs(3) });
    await pass(1_000);
    rig.history = () => ({ items: [theirs(2), theirs(3)], next_cursor: null });
    await pass(5_000);
    assert.deepEqual(rig.bodies(), ["text 2", "text 3"]);
  });
});

describe("sending", () => {
  it("keeps what was written offline and sends it in order, one at a time", async () => {
    rig.sync.known(listed(0));
    ["a", "b", "c"].forEach((body) => rig.sync.send("K", body));
    const socket = await rig.live();
    for (let seq = 1; seq <= 3; seq++) {
      assert.equal(socket.of("send").length, seq);
      rig.accept(seq);
    }
    assert.deepEqual(socket.of("send").map((f) => f.body), ["a", "b", "c"]);
    assert.deepEqual(rig.bodies(), ["a", "b", "c"]);
    assert.equal(rig.sync.outbox.size, 0);
  });
  it("repeats the unanswered one first, under the same client_msg_id", async () => {
    const first = await rig.live();
    rig.sync.send("K", "a");
    rig.sync.send("K", "b");
    first.end(1012);
    rig.sync.send("K", "c");
    await pass(1_000);
    const second = await rig.live();
    assert.deepEqual(second.of("send"), first.of("send"));
    rig.accept(1);
    rig.accept(2);
    assert.deepEqual(second.of("send").map((f) => f.body), ["a", "b", "c"]);
  });
  it("does not repeat what comes back as our own", async () => {
    const first = await rig.live();
    const { client_msg_id } = rig.sync.send("K", "a");
    first.end(1006);
    await pass(1_000);
    const second = await rig.welcome();
    second.say({ op: "message", message: theirs(1, { sender_id: "ME", client_msg_id, body: "a" }) });
    second.say({ op: "live" });
    assert.deepEqual(second.of("send"), []);
    assert.deepEqual(rig.bodies(), ["a"]);
  });
  it("waits when told to, and keeps the order", async () => {
    const socket = await rig.live();
    rig.sync.send("K", "a");
    rig.sync.send("K", "b");
    const id = socket.of("send")[0]!.id;
    socket.say({ op: "error", id, code: "rate_limited", message: "", retryable: true, retry_after_ms: 3_000 });
    await pass(2_900);
    assert.equal(socket.of("send").length, 1);
    await pass(200);
    assert.deepEqual(socket.of("send").map((f) => f.body), ["a", "a"]);
  });
  it("keeps what was refused for the person, with words", async () => {
    const socket = await rig.live();
    rig.sync.send("K", "a");
    rig.sync.send("K", "b");
    const id = socket.of("send")[0]!.id;
    socket.say({ op: "error", id, code: "too_long", message: "At most 16 KiB.", retryable: false });
    assert.deepEqual(socket.of("send").map((f) => f.body), ["a", "b"]);
    assert.equal(rig.sync.outbox.of("K")[0]?.refused, "At most 16 KiB.");
  });
  it("gives up a socket that does not answer", async () => {
    await rig.live();
    rig.sync.send("K", "a");
    await pass(15_000);
    assert.notEqual(rig.phase, "live");
  });
});

describe("drain", () => {
  it("stops sending, waits for answers, comes back at the given moment", async () => {
    const socket = await rig.live();
    rig.sync.send("K", "a");
    socket.say({ op: "drain", reconnect_in_ms: 3_000 });
    rig.sync.send("L", "b");
    assert.deepEqual(socket.of("send").map((f) => f.body), ["a"]);
    assert.equal(socket.closed, false);
    rig.accept(1);
    assert.equal(socket.closed, true);
    assert.equal(rig.phase, "waiting");
    await pass(2_900);
    assert.equal(rig.sockets.length, 1);
    await pass(200);
    assert.equal(rig.sockets.length, 2);
    assert.deepEqual((await rig.live()).of("send").map((f) => f.body), ["b"]);
  });
});

describe("the end", () => {
  for (const [code, verdict] of [[4409, "replaced"], [4410, "signed_out"], [4403, "refused"]] as const) {
    it(`${code} is final until the person says otherwise`, async () => {
      (await rig.live()).end(code);
      assert.deepEqual(rig.sync.connection.status, { phase: "ended", verdict, code });
      await pass(600_000);
      assert.equal(rig.sockets.length, 1);
      rig.sync.connection.start();
      await rig.live();
      assert.equal(rig.phase, "live");
    });
  }
  it("4401 gets one fresh ticket, not two", async () => {
    await rig.settle();
    rig.socket.end(4401);
    await pass(0);
    assert.equal(rig.sockets.length, 2);
    rig.socket.end(4401);
    assert.equal(rig.phase, "ended");
  });
  it("a socket that falls silent is given up", async () => {
    const socket = await rig.live();
    await pass(30_000);
    assert.equal(socket.of("ping").length, 1);
    await pass(8_000);
    assert.equal(rig.phase, "waiting");
  });
  it("so is one that never gets live, but not one that is still catching up", async () => {
    const socket = await rig.welcome();
    for (let seq = 1; seq <= 3; seq++) {
      await pass(14_000);
      socket.say({ op: "message", message: theirs(seq) });
    }
    assert.equal(rig.phase, "connecting");
    await pass(15_000);
    assert.equal(rig.phase, "waiting");
  });
  it("a socket that answers is kept", async () => {
    const socket = await rig.live();
    for (let i = 0; i < 5; i++) {
      await pass(30_000);
      socket.say({ op: "pong" });
    }
    assert.equal(rig.phase, "live");
  });
});

describe("read marks", () => {
  it("are told again when the socket went before the answer", async () => {
    const first = await rig.live();
    rig.sync.read("K", 4);
    first.end(1006);
    await pass(1_000);
    const second = await rig.live();
    assert.deepEqual(second.of("read").map((f) => f.seq), [4]);
    second.say({ op: "ok", id: second.of("read")[0]!.id });
    second.end(1006);
    await pass(5_000);
    assert.deepEqual((await rig.live()).of("read"), []);
  });
  it("never go back", async () => {
    const socket = await rig.live();
    [4, 3, 4].forEach((seq) => rig.sync.read("K", seq));
    assert.deepEqual(socket.of("read").map((f) => f.seq), [4]);
  });
});
