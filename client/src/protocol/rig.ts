// A server in a test's hand: sockets that are opened are recorded, and every
// frame in either direction is the test's to read or to say.

import { Backoff } from "./backoff.ts";
import type { SocketLike, Status } from "./connection.ts";
import type { OutboxStorage } from "./outbox.ts";
import { Sync, type Observer } from "./sync.ts";
import type { ClientFrame, Message, Page, ServerFrame } from "./wire.ts";

export class RigSocket implements SocketLike {
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: ClientFrame[] = [];
  closed = false;

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientFrame);
  }
  close(): void {
    this.closed = true;
  }
  say(frame: ServerFrame | Record<string, unknown>): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  end(code: number): void {
    this.onclose?.({ code });
  }
  of<Op extends ClientFrame["op"]>(op: Op): Extract<ClientFrame, { op: Op }>[] {
    return this.sent.filter((f): f is Extract<ClientFrame, { op: Op }> => f.op === op);
  }
}

export class Rig {
  readonly sockets: RigSocket[] = [];
  readonly statuses: Status[] = [];
  readonly arrived: number[] = [];
  readonly resyncs: (string | undefined)[] = [];
  readonly asked: { id: string; where: object }[] = [];
  lives = 0;
  ticket: () => Promise<string> = () => Promise.resolve("T");
  history: (where: { before_seq: number } | { after_seq: number }) => Page<Message> = () => ({
    items: [],
    next_cursor: null,
  });
  readonly sync: Sync;

  constructor(storage?: OutboxStorage) {
    this.sync = new Sync({
      api: {
        ticket: () => this.ticket(),
        history: (id, where) => {
          this.asked.push({ id, where });
          return Promise.resolve(this.history(where));
        },
      },
      open: () => {
        const socket = new RigSocket();
        this.sockets.push(socket);
        return socket;
      },
      me: "ME",
      device: "D",
      observer: this.observer(),
      connection: { backoff: new Backoff({ random: () => 0 }) },
      ...(storage ? { storage } : {}),
    });
  }

  get socket(): RigSocket {
    return this.sockets.at(-1)!;
  }
  get phase(): string {
    return this.sync.connection.status.phase;
  }

  /** Lets promises that are due run. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }

  /** Opens the newest socket up to `welcome`; `live` is the test's. */
  async welcome(epoch = "E"): Promise<RigSocket> {
    await this.settle();
    const socket = this.socket;
    socket.onopen?.(undefined);
    const id = socket.of("hello")[0]!.id;
    socket.say({ op: "welcome", id, session_id: "S", user_id: "ME", device_id: "D", epoch, heartbeat_ms: 30_000 });
    return socket;
  }

  async live(epoch = "E"): Promise<RigSocket> {
    const socket = await this.welcome(epoch);
    socket.say({ op: "live" });
    return socket;
  }

  /** Answers the newest unanswered send of the socket. */
  accept(seq: number): void {
    const send = this.socket.of("send").at(-1)!;
    const { id, conversation_id } = send;
    this.socket.say({ op: "sent", id, conversation_id, message_id: `M${seq}`, seq, ts: "2026-01-01T00:00:00.000Z" });
  }

  bodies(): string[] {
    return this.sync.timeline("K")?.messages().map((m) => m.body) ?? [];
  }

  private observer(): Observer {
    const nothing = () => undefined;
    return {
      status: (status) => this.statuses.push(status),
      live: () => this.lives++,
      resync: (id) => this.resyncs.push(id),
      arrived: (message) => this.arrived.push(message.seq),
      changed: nothing,
      receipt: nothing,
      typing: nothing,
      conversation: nothing,
    };
  }
}

export function theirs(seq: number, more: Partial<Message> = {}): Message {
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
