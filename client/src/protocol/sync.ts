// What this device knows of its conversations, kept true over any number of
// sockets: resume, gaps, repeats, sends that were not answered.

import { Acks } from "./acks.ts";
import type { Api } from "./api.ts";
import { Connection, type ConnectionOptions, type Status } from "./connection.ts";
import { Outbox, type OutboxStorage, type Pending } from "./outbox.ts";
import { wordsFor } from "./problem.ts";
import { Timeline } from "./timeline.ts";
import { uuidv7 } from "./uuid.ts";
import type { Conversation, ErrorFrame, Message, Receipt, Resume, Sent, ServerFrame, Typing } from "./wire.ts";

/** What the outside is told; called after the state here has changed. */
export interface Observer {
  status(status: Status): void;
  /** Caught up. Lists may have changed meanwhile, so they are to be read again. */
  live(): void;
  /** Timelines were thrown away and must be loaded again over REST. */
  resync(conversationId: string | undefined): void;
  changed(conversationId: string): void;
  /** A message that was not here before, live or missed; own ones included. */
  arrived(message: Message): void;
  receipt(receipt: Receipt): void;
  typing(typing: Typing): void;
  conversation(id: string, conversation: Conversation | undefined): void;
}

export interface SyncOptions {
  api: Pick<Api, "ticket" | "history">;
  open: ConnectionOptions["open"];
  me: string;
  device: string;
  observer: Observer;
  storage?: OutboxStorage;
  connection?: Pick<ConnectionOptions, "backoff" | "now">;
}

/** How far one has read, how far this socket was told, how far the server said ok. */
interface ReadMark {
  want: number;
  told: number;
  kept: number;
}

const pageSize = 40;
const gapPageSize = 100;
// A `sent` may overtake the messages before it, so a jump is given a moment.
const gapGraceMs = 400;
const gapRetryMs = 2_000;
const answerWithinMs = 15_000;
const refusedPauseMs = 1_000;
// A hello must fit into one frame of 64 KiB.
const resumeAtMost = 500;

export class Sync {
  readonly connection: Connection;
  readonly outbox: Outbox;
  private epoch: string | undefined;
  // The most recently active ones last.
  private readonly timelines = new Map<string, Timeline>();
  private readonly acks: Acks;
  private readonly reads = new Map<string, ReadMark>();
  private readonly asked = new Map<string, { mark: ReadMark; seq: number }>();
  private readonly filling = new Set<string>();
  private readonly paging = new Map<string, Promise<void>>();
  private readonly flights = new Map<string, ReturnType<typeof setTimeout>>();
  private pausedUntil = 0;
  private readonly options: SyncOptions;

  constructor(options: SyncOptions) {
    this.options = options;
    this.outbox = new Outbox(options.storage);
    this.acks = new Acks((conversation_id, seq) => this.connection.send({ op: "ack", conversation_id, seq }));
    this.connection = new Connection({
      open: options.open,
      ticket: () => options.api.ticket(),
      resume: () => this.resume(),
      inFlight: () => this.outbox.inFlight,
      onStatus: (status) => options.observer.status(status),
      onFrame: (frame) => this.receive(frame),
      onLost: (reload) => this.lost(reload),
      ...options.connection,
    });
  }

  /** Ends everything, for good. */
  stop(): void {
    this.connection.stop();
    this.lost(false);
    this.timelines.clear();
  }

  timeline(conversationId: string): Timeline | undefined {
    return this.timelines.get(conversationId);
  }

  /** A list or an answer names a conversation and how far it goes. */
  known(conversation: Conversation): void {
    const { id, last_seq, last_message } = conversation;
    const timeline = this.timelines.get(id);
    if (!timeline) {
      const fresh = new Timeline(last_message ? last_seq - 1 : last_seq);
      if (last_message) fresh.add(last_message);
      this.timelines.set(id, fresh);
    } else if (last_message && last_message.seq === timeline.high + 1) {
      timeline.add(last_message);
    } else {
      timeline.expect(last_seq);
      this.watchGap(id, timeline);
    }
    // What was read long ago was acknowledged then.
    if (last_seq > conversation.read_seq) this.progressed(id);
    else this.options.observer.changed(id);
  }

  /** Loads the page before what is here; does nothing at the beginning. */
  older(conversationId: string): Promise<void> {
    const running = this.paging.get(conversationId);
    if (running) return running;
    const page = this.page(conversationId).finally(() => this.paging.delete(conversationId));
    this.paging.set(conversationId, page);
    return page;
  }

  /** Takes a message to send: now, or as soon as there is a connection. */
  send(conversation_id: string, body: string): Pending {
    const pending = { client_msg_id: uuidv7(), conversation_id, body, at: Date.now() };
    this.outbox.add(pending);
    this.flush();
    return pending;
  }

  retry(clientMsgId: string): void {
    this.outbox.retry(clientMsgId);
    this.flush();
  }

  /** Moves the read mark forward; told now or with the next connection. */
  read(conversationId: string, seq: number): void {
    const mark = this.reads.get(conversationId) ?? { want: 0, told: 0, kept: 0 };
    this.reads.set(conversationId, mark);
    if (seq <= mark.want) return;
    mark.want = seq;
    this.tellReads();
  }

  typing(conversation_id: string, on: boolean): void {
    this.connection.send({ op: "typing", conversation_id, on });
  }

  private resume(): Resume | undefined {
    if (this.epoch === undefined) return undefined;
    const conversations: Record<string, number> = {};
    // Those left out go on from what was acknowledged; repeats are dropped here.
    const lively = [...this.timelines].slice(-resumeAtMost);
    for (const [id, timeline] of lively) conversations[id] = timeline.high;
    return { epoch: this.epoch, conversations };
  }

  private receive(frame: ServerFrame): void {
    switch (frame.op) {
      case "welcome":
        this.epoch = frame.epoch;
        return;
      case "live":
        return this.caughtUp();
      case "message":
        return this.message(frame.message);
      case "sent":
        return this.sent(frame);
      case "error":
        return this.refused(frame);
      case "edited":
      case "recalled":
        return this.replaced(frame.message);
      case "resync":
        return this.reset(frame.conversation_id);
      case "receipt":
        return this.options.observer.receipt(frame);
      case "typing":
        return this.options.observer.typing(frame);
      case "conversation":
        return this.conversation(frame);
      case "ok":
        return this.answered(frame.id);
      case "pong":
        return this.compare(frame.conversations ?? {});
    }
  }

  private caughtUp(): void {
    this.acks.restart();
    this.tellReads();
    this.flush();
    this.options.observer.live();
  }

  private message(message: Message): void {
    if (this.outbox.confirm(message.client_msg_id)) this.landed(message.client_msg_id);
    this.take(message);
  }

  private sent(frame: Sent): void {
    const pending = this.outbox.confirm(frame.id);
    this.landed(frame.id);
    if (!pending) return;
    this.take({
      id: frame.message_id,
      conversation_id: pending.conversation_id,
      seq: frame.seq,
      sender_id: this.options.me,
      device_id: this.options.device,
      client_msg_id: pending.client_msg_id,
      body: pending.body,
      version: 1,
      created_at: frame.ts,
    });
    this.flush();
  }

  private take(message: Message): void {
    const id = message.conversation_id;
    let timeline = this.timelines.get(id);
    if (!timeline) {
      timeline = new Timeline(message.seq - 1);
      this.options.observer.conversation(id, undefined);
    }
    this.timelines.delete(id);
    this.timelines.set(id, timeline);
    const isNew = timeline.add(message);
    this.watchGap(id, timeline);
    this.progressed(id);
    if (isNew) this.options.observer.arrived(message);
  }

  private replaced(message: Message | undefined): void {
    if (!message) return;
    this.timelines.get(message.conversation_id)?.replace(message);
    this.options.observer.changed(message.conversation_id);
  }

  private conversation(frame: { conversation_id?: string; conversation?: Conversation }): void {
    const id = frame.conversation?.id ?? frame.conversation_id;
    if (id) this.options.observer.conversation(id, frame.conversation);
  }

  private refused(frame: ErrorFrame): void {
    const id = frame.id;
    if (id === undefined || !this.landed(id)) return;
    if (frame.retryable) {
      this.outbox.postpone(id);
      this.pause(frame.retry_after_ms ?? refusedPauseMs);
    } else {
      this.outbox.refuse(id, wordsFor(frame.code, frame.message));
      this.options.observer.changed("");
      this.flush();
    }
  }

  private pause(ms: number): void {
    this.pausedUntil = Date.now() + ms;
    setTimeout(() => this.flush(), ms);
  }

  private flush(): void {
    if (this.connection.status.phase !== "live" || Date.now() < this.pausedUntil) return;
    for (const { client_msg_id, conversation_id, body } of this.outbox.take()) {
      this.connection.send({ op: "send", id: client_msg_id, conversation_id, client_msg_id, body });
      // An answer that never comes means a socket that is dead or deaf; the
      // next one sends again under the same id.
      this.flights.set(client_msg_id, setTimeout(() => this.connection.lost(), answerWithinMs));
    }
  }

  private landed(clientMsgId: string): boolean {
    clearTimeout(this.flights.get(clientMsgId));
    return this.flights.delete(clientMsgId);
  }

  private lost(reload: boolean): void {
    for (const timer of this.flights.values()) clearTimeout(timer);
    this.flights.clear();
    this.outbox.disconnected();
    this.asked.clear();
    for (const mark of this.reads.values()) mark.told = mark.kept;
    this.pausedUntil = 0;
    if (reload) this.reset(undefined);
  }

  private reset(conversationId: string | undefined): void {
    this.acks.forget(conversationId);
    for (const known of [this.timelines, this.reads]) {
      if (conversationId === undefined) known.clear();
      else known.delete(conversationId);
    }
    this.options.observer.resync(conversationId);
  }

  private tellReads(): void {
    for (const [conversation_id, mark] of this.reads) {
      if (mark.want <= mark.told) continue;
      const frame = { op: "read", id: this.connection.id(), conversation_id, seq: mark.want } as const;
      if (!this.connection.send(frame)) continue;
      mark.told = mark.want;
      this.asked.set(frame.id, { mark, seq: mark.want });
    }
  }

  private answered(id: string | undefined): void {
    const asked = this.asked.get(id ?? "");
    if (!asked) return;
    asked.mark.kept = Math.max(asked.mark.kept, asked.seq);
    this.asked.delete(id ?? "");
  }

  private compare(seqs: Record<string, number>): void {
    for (const [id, seq] of Object.entries(seqs)) {
      const timeline = this.timelines.get(id);
      if (!timeline) continue;
      timeline.expect(seq);
      this.watchGap(id, timeline);
    }
  }

  private progressed(id: string): void {
    const timeline = this.timelines.get(id);
    if (timeline && timeline.high > 0) this.acks.upTo(id, timeline.high);
    this.options.observer.changed(id);
  }

  private watchGap(id: string, timeline: Timeline, afterMs = gapGraceMs): void {
    if (timeline.gapAfter === undefined || this.filling.has(id)) return;
    this.filling.add(id);
    setTimeout(() => void this.fillGap(id, timeline), afterMs);
  }

  private async fillGap(id: string, timeline: Timeline): Promise<void> {
    let again = gapGraceMs;
    try {
      const after_seq = timeline.gapAfter;
      if (after_seq !== undefined && this.timelines.get(id) === timeline) {
        const page = await this.options.api.history(id, { after_seq }, gapPageSize);
        const before = timeline.high;
        timeline.fill(page.items, page.next_cursor === null);
        this.announce(timeline, before);
      }
    } catch {
      again = gapRetryMs;
    }
    this.filling.delete(id);
    if (this.timelines.get(id) !== timeline) return;
    this.progressed(id);
    this.watchGap(id, timeline, again);
  }

  private announce(timeline: Timeline, after: number): void {
    for (const message of timeline.messages()) {
      if (message.seq <= after) continue;
      this.outbox.confirm(message.client_msg_id);
      this.landed(message.client_msg_id);
      this.options.observer.arrived(message);
    }
  }

  private async page(id: string): Promise<void> {
    const timeline = this.timelines.get(id);
    if (!timeline || timeline.reachesStart) return;
    const page = await this.options.api.history(id, { before_seq: timeline.low }, pageSize);
    timeline.prepend(page.items, page.next_cursor === null || page.items.length === 0);
    this.options.observer.changed(id);
  }
}
