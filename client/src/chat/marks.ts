// How far each member of a conversation has received and read it.

import type { Member, Receipt } from "../protocol/wire.ts";

export type Tick = "sent" | "delivered" | "read";

interface Mark {
  delivered: number;
  read: number;
}

/** Delivered and read, by user. */
export type StoredMarks = Record<string, [number, number]>;

export class Marks {
  private readonly byUser = new Map<string, Mark>();

  constructor(stored: StoredMarks = {}) {
    for (const [user, [delivered, read]] of Object.entries(stored)) this.raise(user, delivered, read);
  }

  stored(): StoredMarks {
    return Object.fromEntries([...this.byUser].map(([user, m]) => [user, [m.delivered, m.read]]));
  }

  /** Takes what a conversation's member list tells, where it tells it. */
  members(members: Member[]): void {
    for (const { user_id, delivered_seq, read_seq } of members) this.raise(user_id, delivered_seq ?? 0, read_seq ?? 0);
  }

  receipt(receipt: Receipt): void {
    // Large groups count receipts instead of naming people: nothing to mark.
    if (receipt.user_id === undefined) return;
    this.raise(receipt.user_id, receipt.seq, receipt.kind === "read" ? receipt.seq : 0);
  }

  /** What holds for every one of the others. */
  tick(seq: number, others: string[]): Tick {
    if (others.length === 0) return "sent";
    const marks = others.map((id) => this.byUser.get(id));
    if (marks.every((m) => m !== undefined && m.read >= seq)) return "read";
    return marks.every((m) => m !== undefined && m.delivered >= seq) ? "delivered" : "sent";
  }

  private raise(userId: string, delivered: number, read: number): void {
    const mark = this.byUser.get(userId) ?? { delivered: 0, read: 0 };
    mark.read = Math.max(mark.read, read);
    // Who has read has received.
    mark.delivered = Math.max(mark.delivered, delivered, mark.read);
    this.byUser.set(userId, mark);
  }
}
