// Acknowledgements, coalesced: in each window at most one per conversation,
// always the highest, and not so many in all that the server's frame limit is
// met. The first one after a pause goes at once, so that a sender sees the tick
// without waiting for the window.

export const ackWindowMs = 200;
const perWindow = 20;

export class Acks {
  private readonly told = new Map<string, number>();
  private readonly due = new Map<string, number>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly send: (conversationId: string, seq: number) => boolean;

  /** send answers false while there is no connection; then restart is to be called at the next. */
  constructor(send: (conversationId: string, seq: number) => boolean) {
    this.send = send;
  }

  /** This device has everything up to seq. */
  upTo(conversationId: string, seq: number): void {
    if (seq <= (this.told.get(conversationId) ?? 0)) return;
    this.due.set(conversationId, Math.max(seq, this.due.get(conversationId) ?? 0));
    if (this.timer === undefined) this.pump();
  }

  /** A new socket: what the last one was told may never have arrived. */
  restart(): void {
    for (const [id, seq] of this.told) if (!this.due.has(id)) this.due.set(id, seq);
    this.told.clear();
    clearTimeout(this.timer);
    this.pump();
  }

  /** The conversation, or all of them, are loaded anew: old seqs mean nothing. */
  forget(conversationId?: string): void {
    for (const marks of [this.told, this.due]) {
      if (conversationId === undefined) marks.clear();
      else marks.delete(conversationId);
    }
  }

  private pump(): void {
    this.timer = undefined;
    const batch = [...this.due].slice(0, perWindow);
    for (const [id, seq] of batch) {
      if (!this.send(id, seq)) return;
      this.due.delete(id);
      this.told.set(id, seq);
    }
    if (batch.length > 0) this.timer = setTimeout(() => this.pump(), ackWindowMs);
  }
}
