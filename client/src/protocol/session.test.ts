import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Api } from "./api.ts";
import { Problem, SignedOut, Unreachable } from "./problem.ts";
import type { StoredSession } from "./session.ts";

interface Asked {
  path: string;
  bearer: string | null;
}

function rig(answer: (asked: Asked) => Response | Promise<Response>) {
  const asked: Asked[] = [];
  const clock = { now: 1_000_000 };
  let stored: StoredSession | undefined;
  const api = new Api({
    base: "",
    storage: { load: () => stored, save: (s) => (stored = s) },
    now: () => clock.now,
    fetch: async (input, init) => {
      const one = { path: String(input), bearer: new Headers(init?.headers).get("Authorization") };
      asked.push(one);
      return answer(one);
    },
  });
  return { api, asked, clock, stored: () => stored };
}

const json = (status: number, body: unknown) => new Response(JSON.stringify(body), { status });
const grant = (n: number) => ({
  user: { id: "U", username: "alice", display_name: "Alice" },
  session_id: "S",
  device_id: "laptop",
  access_token: `A${n}`,
  expires_in: 300,
  refresh_token: `R${n}`,
});
const unauthenticated = () => json(401, { code: "unauthenticated", detail: "no" });

async function signedIn(answer: (asked: Asked) => Response | Promise<Response>) {
  const r = rig((asked) => (asked.path.endsWith("auth/login") ? json(200, grant(1)) : answer(asked)));
  await r.api.login("alice", "correct horse", "laptop");
  r.asked.length = 0;
  return r;
}

describe("session", () => {
  it("renews shortly before the end, once for all who ask", async () => {
    const r = await signedIn((a) => (a.path.endsWith("auth/refresh") ? json(200, grant(2)) : json(200, { ticket: "T" })));
    r.clock.now += 270_000;
    await Promise.all([r.api.ticket(), r.api.ticket()]);
    assert.deepEqual(r.asked.filter((a) => a.path.endsWith("auth/refresh")).length, 1);
    assert.ok(r.asked.filter((a) => a.path.endsWith("auth/ticket")).every((a) => a.bearer === "Bearer A2"));
    assert.equal(r.stored()?.refresh_token, "R2");
  });
  it("renews when the server refuses the access token", async () => {
    const r = await signedIn((a) => {
      if (a.path.endsWith("auth/refresh")) return json(200, grant(2));
      return a.bearer === "Bearer A2" ? json(200, { ticket: "T" }) : unauthenticated();
    });
    assert.equal(await r.api.ticket(), "T");
  });
  it("is over when renewing is refused", async () => {
    const r = await signedIn(unauthenticated);
    await assert.rejects(r.api.ticket(), SignedOut);
    assert.equal(r.stored(), undefined);
  });
  it("is kept when the server cannot be reached", async () => {
    const r = await signedIn(() => Promise.reject(new TypeError("network")));
    r.clock.now += 290_000;
    await assert.rejects(r.api.ticket(), Unreachable);
    assert.equal(r.stored()?.refresh_token, "R1");
  });
  it("is kept when the server is busy", async () => {
    const r = await signedIn(() => json(503, { code: "auth_busy" }));
    r.clock.now += 290_000;
    await assert.rejects(r.api.ticket(), Problem);
    assert.equal(r.stored()?.refresh_token, "R1");
  });
  it("takes over what another tab has renewed, and nothing else", async () => {
    const r = await signedIn((a) => json(200, { ticket: a.bearer }));
    const mine = r.stored()!;
    const other = { ...mine, access_token: "A9", refresh_token: "R9", expires_at: mine.expires_at + 1 };
    r.api.session.adopt({ ...other, session_id: "another" });
    r.api.session.adopt({ ...other, expires_at: mine.expires_at - 1 });
    assert.equal(await r.api.ticket(), "Bearer A1");
    r.api.session.adopt(other);
    assert.equal(await r.api.ticket(), "Bearer A9");
    assert.equal(r.stored()?.refresh_token, "R9");
  });
  it("is gone after logout, reachable or not", async () => {
    const r = await signedIn(() => Promise.reject(new TypeError("network")));
    await r.api.logout();
    assert.equal(r.stored(), undefined);
    await assert.rejects(r.api.ticket(), SignedOut);
  });
});

describe("paging", () => {
  it("reads conversations to the end", async () => {
    const r = await signedIn((a) => {
      const second = a.path.includes("cursor=");
      return json(200, { items: [{ id: second ? "K2" : "K1" }], next_cursor: second ? null : "c/1" });
    });
    assert.deepEqual((await r.api.conversations()).map((c) => c.id), ["K1", "K2"]);
    assert.ok(r.asked[1]?.path.includes("cursor=c%2F1"));
  });
});
