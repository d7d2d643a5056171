// What this tab keeps over a reload. sessionStorage, not localStorage: two
// windows of one browser are two devices, each with its own session.

import type { OutboxStorage, Pending } from "../protocol/outbox.ts";
import type { Session, SessionStorage, StoredSession } from "../protocol/session.ts";
import type { StoredMarks } from "./marks.ts";

const renewals = new BroadcastChannel("nova.session");
const sessionKey = "nova.session";
const deviceKey = "nova.device";
const marksKey = (userId: string) => `nova.marks.${userId}`;
const outboxKey = (userId: string) => `nova.outbox.${userId}`;

export const sessionStore: SessionStorage = {
  load: () => read<StoredSession>(sessionKey),
  save: (session) => {
    write(sessionKey, session);
    if (session) renewals.postMessage(session);
  },
};

/**
 * A tab that was duplicated holds the same session, and a refresh token works
 * once: whoever renews hands the new one to the others, or the server would
 * take the second use for theft and end the session.
 */
export function shareSession(session: Session): void {
  renewals.onmessage = (event: MessageEvent<StoredSession>) => session.adopt(event.data);
}

export function outboxStore(userId: string): OutboxStorage {
  return {
    load: () => read<Pending[]>(outboxKey(userId)) ?? [],
    save: (items) => write(outboxKey(userId), items.length > 0 ? items : undefined),
  };
}

/** Receipts are told once, so what they said is kept, by conversation. */
export const marksStore = {
  load: (userId: string) => read<Record<string, StoredMarks>>(marksKey(userId)) ?? {},
  save: (userId: string, marks: Record<string, StoredMarks> | undefined) => write(marksKey(userId), marks),
};

/** This tab's device id, made on first use. */
export function deviceId(): string {
  const known = read<string>(deviceKey);
  if (known) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const made = `web-${Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("")}`;
  write(deviceKey, made);
  return made;
}

function read<T>(key: string): T | undefined {
  try {
    const text = sessionStorage.getItem(key);
    return text === null ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

function write(key: string, value: unknown): void {
  try {
    if (value === undefined) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: the tab works on, and forgets at a reload.
  }
}
