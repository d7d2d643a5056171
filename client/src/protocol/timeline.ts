// The messages of one conversation as this device knows them: one contiguous
// run of seqs, and beyond a gap those that wait for the gap to close.

import type { Message } from "./wire.ts";

export class Timeline {
  private readonly bySeq = new Map<number, Message>();
  private readonly waiting = new Map<number, Message>();
  private first: number;
  private last: number;
  private target = 0;
  private ascending: readonly Message[] | undefined;

  /** Everything up to base counts as had, although none of it is loaded. */
  constructor(base: number) {
    this.first = base + 1;
    this.last = base;
  }

  /** The seq up to which nothing is missing: what `ack` and `resume` name. */
  get high(): number {
    return this.last;
  }

  /** The lowest loaded seq; history before it is asked for with before_seq. */
  get low(): number {
    return this.first;
  }

  /** Where a hole begins, as an after_seq; undefined when there is none. */
  get gapAfter(): number | undefined {
    return this.last < this.target ? this.last : undefined;
  }

  get reachesStart(): boolean {
    return this.first <= 1;
  }

  get(seq: number): Message | undefined {
    return this.bySeq.get(seq);
  }

  /** Loaded messages in ascending order, those beyond a gap left out. */
  messages(): readonly Message[] {
    this.ascending ??= [...this.bySeq.values()].sort((a, b) => a.seq - b.seq);
    return this.ascending;
  }

  newest(): Message | undefined {
    return this.bySeq.get(this.last);
  }

  /** The server has messages up to seq, whether or not they came here. */
  expect(seq: number): void {
    this.target = Math.max(this.target, seq);
  }

  /** Takes a live message. False when it was here already. */
  add(message: Message): boolean {
    if (message.seq <= this.last || this.waiting.has(message.seq)) return false;
    this.waiting.set(message.seq, message);
    this.expect(message.seq);
    this.join();
    return true;
  }

  /**
   * Takes what history answered for an after_seq, ascending. With `complete`
   * there was nothing beyond the answer: seqs that it leaves out are not to be
   * had (retention, or before this person joined) and are waited for no more.
   */
  fill(items: Message[], complete: boolean): void {
    const fresh = items.filter((m) => m.seq > this.last);
    for (const m of fresh) this.waiting.set(m.seq, m);
    for (const m of fresh) this.take(m.seq);
    this.join();
    if (!complete) return;
    if (fresh.length === 0 && this.waiting.size > 0) this.take(Math.min(...this.waiting.keys()));
    this.join();
    if (this.waiting.size === 0) this.target = this.last;
  }

  /** Takes an older page, in either order; `start` when nothing lies before it. */
  prepend(items: Message[], start: boolean): void {
    this.ascending = undefined;
    for (const m of items) {
      if (!this.bySeq.has(m.seq)) this.bySeq.set(m.seq, m);
      this.first = Math.min(this.first, m.seq);
      this.last = Math.max(this.last, m.seq);
    }
    if (start) this.first = 1;
    for (const seq of this.waiting.keys()) if (seq <= this.last) this.waiting.delete(seq);
    this.join();
  }

  /** Replaces a message by a newer version of itself. */
  replace(message: Message): void {
    this.ascending = undefined;
    const held = this.bySeq.has(message.seq) ? this.bySeq : this.waiting;
    const old = held.get(message.seq);
    if (old && message.version >= old.version) held.set(message.seq, message);
  }

  private join(): void {
    while (this.waiting.has(this.last + 1)) this.take(this.last + 1);
  }

  private take(seq: number): void {
    const message = this.waiting.get(seq);
    if (!message) return;
    this.waiting.delete(seq);
    this.ascending = undefined;
    this.bySeq.set(seq, message);
    this.last = Math.max(this.last, seq);
    this.first = Math.min(this.first, seq);
  }
}
