import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { Unreachable } from "../protocol/problem.ts";
import type { User } from "../protocol/wire.ts";
import { People } from "./people.ts";

const user = (id: string): User => ({ id, username: id.toLowerCase(), display_name: `Name of ${id}` });
const settle = () => new Promise((done) => setImmediate(done));

describe("people", () => {
  it("are asked for once, a few at a time", async () => {
    const waiting: (() => void)[] = [];
    const asked: string[] = [];
    const api = {
      user: (id: string) => {
        asked.push(id);
        return new Promise<User>((done) => waiting.push(() => done(user(id))));
      },
    };
    const people = new People(api, () => undefined);
    for (let i = 0; i < 10; i++) assert.equal(people.name(`U${i}`), "");
    for (let i = 0; i < 10; i++) people.get(`U${i}`);
    assert.equal(asked.length, 4);
    while (waiting.length > 0) {
      waiting.shift()!();
      await settle();
    }
    assert.equal(asked.length, 10);
    assert.equal(people.name("U9"), "Name of U9");
  });
  it("are asked for again after a failure, later", async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    let up = false;
    const api = { user: async (id: string) => (up ? user(id) : Promise.reject(new Unreachable())) };
    const people = new People(api, () => undefined);
    people.get("U");
    await settle();
    up = true;
    people.get("U");
    await settle();
    assert.equal(people.name("U"), "");
    mock.timers.tick(5_000);
    people.get("U");
    await settle();
    assert.equal(people.name("U"), "Name of U");
    mock.timers.reset();
  });
});
