import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import type { Receipt } from "../protocol/wire.ts";
import { Marks } from "./marks.ts";
import { MyTyping, Typists } from "./typists.ts";

const receipt = (kind: Receipt["kind"], user_id: string | undefined, seq: number): Receipt => ({
  op: "receipt",
  kind,
  conversation_id: "K",
  seq,
  ...(user_id === undefined ? {} : { user_id }),
});

describe("ticks", () => {
  it("go from sent over delivered to read, and never back", () => {
    const marks = new Marks();
    assert.equal(marks.tick(3, ["BOB"]), "sent");
    marks.receipt(receipt("delivered", "BOB", 3));
    assert.equal(marks.tick(3, ["BOB"]), "delivered");
    assert.equal(marks.tick(4, ["BOB"]), "sent");
    marks.receipt(receipt("read", "BOB", 4));
    marks.receipt(receipt("delivered", "BOB", 1));
    assert.equal(marks.tick(4, ["BOB"]), "read");
  });
  it("need everyone in a group", () => {
    const marks = new Marks();
    marks.receipt(receipt("read", "BOB", 5));
    assert.equal(marks.tick(5, ["BOB", "CAROL"]), "sent");
    marks.receipt(receipt("delivered", "CAROL", 5));
    assert.equal(marks.tick(5, ["BOB", "CAROL"]), "delivered");
  });
  it("name nobody when receipts are only counted", () => {
    const marks = new Marks();
    marks.receipt(receipt("delivered", undefined, 5));
    assert.equal(marks.tick(5, ["BOB"]), "sent");
  });
  it("survive being stored", () => {
    const marks = new Marks();
    marks.receipt(receipt("read", "BOB", 5));
    assert.equal(new Marks(JSON.parse(JSON.stringify(marks.stored()))).tick(5, ["BOB"]), "read");
  });
});

describe("typing", () => {
  it("of others ends by itself when the end is lost", () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    const typists = new Typists(() => undefined);
    typists.take({ op: "typing", conversation_id: "K", user_id: "BOB", on: true });
    assert.deepEqual(typists.in("K"), ["BOB"]);
    mock.timers.tick(6_000);
    assert.deepEqual(typists.in("K"), []);
    mock.timers.reset();
  });
  it("of mine is told at once, repeated sparingly, ended by silence", () => {
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
    const told: boolean[] = [];
    const typing = new MyTyping((_, on) => told.push(on));
    for (let i = 0; i < 10; i++) typing.keystroke("K");
    assert.deepEqual(told, [true]);
    mock.timers.tick(3_000);
    typing.keystroke("K");
    assert.deepEqual(told, [true, true]);
    mock.timers.tick(4_000);
    assert.deepEqual(told, [true, true, false]);
    typing.stop();
    assert.equal(told.length, 3);
    mock.timers.reset();
  });
});
