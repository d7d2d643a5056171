import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it, mock } from "node:test";
import { Acks, ackWindowMs } from "./acks.ts";
import { Backoff } from "./backoff.ts";
import { interpretClose } from "./close.ts";
import { Outbox, type Pending } from "./outbox.ts";
import { Problem, describe as words } from "./problem.ts";
import { Timeline } from "./timeline.ts";
import { uuidv7 } from "./uuid.ts";
import { parseFrame, type Message } from "./wire.ts";

function message(seq: number, more: Partial<Message> = {}): Message {
  return {
    id: `M${seq}`,
    conversation_id: "K",
    seq,
    sender_id: "BOB",
    device_id: "phone",
    client_msg_id: `c-${seq}`,
    body: `text ${seq}`,
    version: 1,
    created_at: "2026-01-01T00:00:00.000Z",
    ...more,
  };
}

const seqs = (t: Timeline) => t.messages().map((m) => m.seq);

describe("close codes", () => {
  const table: [number, string][] = [
    [1000, "refused"],
    [1001, "resume"],
    [1002, "refused"],
    [1003, "refused"],
    [1005, "resume"],
    [1006, "resume"],
    [1007, "refused"],
    [1009, "refused"],
    [1012, "resume"],
    [1013, "resume"],
    [4000, "resume"],
    [4029, "resume"],
    [4050, "resume"],
    [4051, "reload"],
    [4399, "resume"],
    [4400, "refused"],
    [4401, "reauthenticate"],
    [4403, "refused"],
    [4408, "refused"],
    [4409, "replaced"],
    [4410, "signed_out"],
    [4999, "refused"],
  ];
  for (const [code, verdict] of table) {
    it(`${code} means ${verdict}`, () => assert.equal(interpretClose(code).verdict, verdict));
  }
  it("asks for patience when the server is overloaded", () => {
    assert.ok(interpretClose(1013).waitMs >= 1000);
    assert.equal(interpretClose(1012).waitMs, 0);
  });
});

describe("backoff", () => {
  it("doubles to the cap and starts over", () => {
    const b = new Backoff({ firstMs: 100, capMs: 1000, random: () => 1 });
    assert.deepEqual([b.next(), b.next(), b.next(), b.next(), b.next(), b.next()], [100, 200, 400, 800, 1000, 1000]);
    b.reset();
    assert.equal(b.next(), 100);
  });
  it("spreads over the upper half", () => {
    assert.equal(new Backoff({ firstMs: 100, random: () => 0 }).next(), 50);
    assert.equal(new Backoff({ firstMs: 100, random: () => 0.5 }).next(), 75);
  });
  it("never undercuts the server's hint", () => {
    assert.ok(new Backoff({ random: () => 0 }).next(5000) >= 5000);
  });
});

describe("uuidv7", () => {
  it("carries the time in front, version and variant", () => {
    const id = uuidv7(0x0192_0000_0001, new Uint8Array(10).fill(0xff));
    assert.equal(id, "01920000-0001-7fff-bfff-ffffffffffff");
  });
  it("ascends with time", () => {
    assert.ok(uuidv7(1_700_000_000_000) < uuidv7(1_700_000_000_001));
  });
});

describe("timeline", () => {
  it("drops what is here already", () => {
    const t = new Timeline(0);
    assert.equal(t.add(message(1)), true);
    assert.equal(t.add(message(1)), false);
    assert.deepEqual(seqs(t), [1]);
  });
  it("holds back what lies beyond a gap", () => {
    const t = new Timeline(2);
    t.add(message(5));
    t.add(message(4));
    assert.equal(t.high, 2);
    assert.equal(t.gapAfter, 2);
    assert.deepEqual(seqs(t), []);
    t.add(message(3));
    assert.equal(t.high, 5);
    assert.equal(t.gapAfter, undefined);
    assert.deepEqual(seqs(t), [3, 4, 5]);
  });
  it("closes a gap from history, page by page", () => {
    const t = new Timeline(1);
    t.add(message(6));
    t.fill([message(2), message(3)], false);
    assert.equal(t.gapAfter, 3);
    t.fill([message(4), message(5), message(6)], true);
    assert.equal(t.gapAfter, undefined);
    assert.deepEqual(seqs(t), [2, 3, 4, 5, 6]);
  });
  it("stops waiting for what history does not have", () => {
    const t = new Timeline(1);
    t.add(message(4));
    t.fill([message(3), message(4)], true);
    assert.equal(t.high, 4);
    t.add(message(6));
    t.fill([], true);
    assert.equal(t.high, 6);
    assert.equal(t.gapAfter, undefined);
  });
  it("keeps waiting for what came while history was asked", () => {
    const t = new Timeline(1);
    t.add(message(3));
    t.add(message(6));
    t.fill([message(2), message(3), message(4)], true);
    assert.equal(t.high, 4);
    assert.equal(t.gapAfter, 4);
  });
  it("notices a silent gap by the server's word", () => {
    const t = new Timeline(3);
    t.expect(5);
    assert.equal(t.gapAfter, 3);
    t.fill([], true);
    assert.equal(t.gapAfter, undefined);
  });
  it("pages upwards to the start", () => {
    const t = new Timeline(9);
    t.add(message(10));
    t.prepend([message(9), message(8)], false);
    assert.equal(t.low, 8);
    assert.equal(t.reachesStart, false);
    t.prepend([message(7)], true);
    assert.equal(t.reachesStart, true);
    assert.deepEqual(seqs(t), [7, 8, 9, 10]);
    assert.equal(t.high, 10);
  });
  it("replaces by newer versions only", () => {
    const t = new Timeline(0);
    t.add(message(1, { version: 2, body: "new" }));
    t.replace(message(1, { version: 1, body: "old" }));
    assert.equal(t.get(1)?.body, "new");
    t.replace(message(1, { version: 3, body: "newer" }));
    assert.equal(t.get(1)?.body, "newer");
  });
});

describe("outbox", () => {
  const pending = (n: number, conversation_id = "K"): Pending => ({
    client_msg_id: `p${n}`,
    conversation_id,
    body: `${n}`,
    at: n,
  });
  const ids = (list: Pending[]) => list.map((p) => p.client_msg_id);

  it("sends one per conversation, oldest first", () => {
    const box = new Outbox();
    [pending(1), pending(2), pending(3, "L")].forEach((p) => box.add(p));
    assert.deepEqual(ids(box.take()), ["p1", "p3"]);
    assert.deepEqual(ids(box.take()), []);
    box.confirm("p1");
    assert.deepEqual(ids(box.take()), ["p2"]);
  });
  it("sends the unanswered one first again after a lost socket", () => {
    const box = new Outbox();
    [pending(1), pending(2)].forEach((p) => box.add(p));
    box.take();
    box.disconnected();
    box.add(pending(3));
    assert.deepEqual(ids(box.take()), ["p1"]);
  });
  it("keeps the order when one is postponed", () => {
    const box = new Outbox();
    [pending(1), pending(2)].forEach((p) => box.add(p));
    box.take();
    box.postpone("p1");
    assert.deepEqual(ids(box.take()), ["p1"]);
  });
  it("goes on past a refused one and keeps it for the person", () => {
    const box = new Outbox();
    [pending(1), pending(2)].forEach((p) => box.add(p));
    box.take();
    box.refuse("p1", "too long");
    assert.deepEqual(ids(box.take()), ["p2"]);
    assert.equal(box.of("K")[0]?.refused, "too long");
    box.confirm("p2");
    box.retry("p1");
    assert.deepEqual(ids(box.take()), ["p1"]);
  });
  it("survives a reload of the page", () => {
    let kept: Pending[] = [];
    const storage = { load: () => structuredClone(kept), save: (items: Pending[]) => (kept = structuredClone(items)) };
    const box = new Outbox(storage);
    [pending(1), pending(2)].forEach((p) => box.add(p));
    box.take();
    box.confirm("p1");
    assert.deepEqual(ids(new Outbox(storage).take()), ["p2"]);
  });
});

describe("acks", () => {
  beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
  afterEach(() => mock.timers.reset());
  it("are coalesced to the highest per window", () => {
    const told: [string, number][] = [];
    const acks = new Acks((id, seq) => told.push([id, seq]) > 0);
    [1, 2, 3].forEach((n) => acks.upTo("K", n));
    acks.upTo("L", 7);
    assert.deepEqual(told, [["K", 1]]);
    mock.timers.tick(ackWindowMs);
    assert.deepEqual(told.slice(1), [["K", 3], ["L", 7]]);
    mock.timers.tick(10 * ackWindowMs);
    acks.upTo("K", 3);
    assert.equal(told.length, 3);
  });
  it("stay below the frame limit", () => {
    let told = 0;
    const acks = new Acks(() => ++told > 0);
    for (let i = 0; i < 1_000; i++) acks.upTo(`K${i}`, 1);
    for (let i = 0; i < 5; i++) mock.timers.tick(ackWindowMs);
    assert.ok(told > 20 && told <= 200, `${told} in a second`);
  });
  it("wait for a connection and are told again to a new one", () => {
    let connected = false;
    const told: number[] = [];
    const acks = new Acks((_, seq) => connected && told.push(seq) > 0);
    acks.upTo("K", 1);
    acks.upTo("K", 2);
    connected = true;
    acks.restart();
    assert.deepEqual(told, [2]);
    acks.restart();
    assert.deepEqual(told, [2, 2]);
    acks.forget("K");
    acks.restart();
    assert.deepEqual(told, [2, 2]);
  });
});

describe("problems", () => {
  it("show the detail and the fields", () => {
    const p = new Problem(422, { code: "invalid", detail: "Look at this.", errors: [{ field: "body.username", detail: "at least 3" }] });
    assert.equal(words(p), "Look at this.");
    assert.deepEqual(p.fields, [{ field: "username", message: "at least 3" }]);
  });
  it("never show what is no problem document", () => {
    assert.ok(!words(new Problem(502, {})).includes("502"));
    assert.ok(!words(new TypeError("x is undefined")).includes("undefined"));
  });
});

describe("frames", () => {
  it("that are no objects with an op are passed over", () => {
    for (const bad of ["", "[]", "null", "{}", '{"op":1}', "{"]) assert.equal(parseFrame(bad), undefined);
    assert.deepEqual(parseFrame('{"op":"live"}'), { op: "live" });
  });
});
