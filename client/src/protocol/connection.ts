// One socket after the other: ticket, hello, welcome, live; heartbeats; and what
// to do when it ends. Knows nothing of messages.

import { Backoff } from "./backoff.ts";
import { interpretClose, type Verdict } from "./close.ts";
import { Problem, SignedOut } from "./problem.ts";
import { parseFrame, type ClientFrame, type Resume, type ServerFrame, type Welcome } from "./wire.ts";

export type Status =
  | { phase: "idle" | "connecting" | "live" | "draining" }
  | { phase: "waiting"; untilMs: number }
  | { phase: "ended"; verdict: Extract<Verdict, "signed_out" | "replaced" | "refused">; code: number };

/** The part of WebSocket that is used, so that tests can bring their own. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export interface ConnectionOptions {
  open: () => SocketLike;
  ticket: () => Promise<string>;
  /** What hello resumes from; undefined for a fresh start. */
  resume: () => Resume | undefined;
  /** Sends still unanswered: a drain waits for them. */
  inFlight: () => number;
  onStatus: (status: Status) => void;
  onFrame: (frame: ServerFrame) => void;
  /** The socket is gone; with reload, what is here must not be resumed from. */
  onLost: (reload: boolean) => void;
  backoff?: Backoff;
  now?: () => number;
}

const establishWithinMs = 15_000;
const pongWithinMs = 8_000;
const drainPatienceMs = 2_000;
const provenAfterMs = 5_000;

type Timer = ReturnType<typeof setTimeout>;

export class Connection {
  private state: Status = { phase: "idle" };
  private socket: SocketLike | undefined;
  private attempt = 0;
  private freshTickets = 0;
  private reconnectAt: number | undefined;
  private nextId = 1;
  private pongDue: Timer | undefined;
  private silence: Timer | undefined;
  private timers: Timer[] = [];
  private readonly options: ConnectionOptions;
  private readonly backoff: Backoff;
  private readonly now: () => number;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.backoff = options.backoff ?? new Backoff();
    this.now = options.now ?? Date.now;
  }

  get status(): Status {
    return this.state;
  }

  /** Connects, also after an end that only the person may overrule. */
  start(): void {
    if (this.state.phase !== "idle" && this.state.phase !== "ended") return;
    this.freshTickets = 0;
    void this.connect();
  }

  stop(): void {
    this.drop();
    this.enter({ phase: "idle" });
  }

  /** The network is back, or someone looks again: do not sit out the wait. */
  hurry(): void {
    if (this.state.phase === "waiting" && this.reconnectAt === undefined) void this.connect();
    else if (this.state.phase === "live") this.ping();
  }

  /** The network is known to be gone: what the socket holds will not arrive. */
  lost(): void {
    if (this.socket) this.ended(1006);
  }

  /** False when the frame cannot go now. */
  send(frame: ClientFrame): boolean {
    if (this.state.phase !== "live" || !this.socket) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  id(): string {
    return `q${this.nextId++}`;
  }

  private async connect(): Promise<void> {
    this.drop();
    this.reconnectAt = undefined;
    const attempt = this.attempt;
    this.enter({ phase: "connecting" });
    const ticket = await this.options.ticket().catch((error: unknown) => this.noTicket(attempt, error));
    if (ticket === undefined || attempt !== this.attempt) return;
    const socket = this.options.open();
    this.socket = socket;
    this.watch();
    socket.onopen = () => this.hello(socket, ticket);
    socket.onmessage = (event: { data: unknown }) => this.receive(event.data);
    socket.onclose = (event: { code: number }) => this.ended(event.code);
  }

  private noTicket(attempt: number, error: unknown): undefined {
    if (attempt !== this.attempt) return;
    if (error instanceof SignedOut) this.enter({ phase: "ended", verdict: "signed_out", code: 4401 });
    else this.wait(this.backoff.next(error instanceof Problem ? error.retryAfterMs : 0));
  }

  private hello(socket: SocketLike, ticket: string): void {
    const frame: ClientFrame = { op: "hello", id: this.id(), ticket };
    const resume = this.options.resume();
    socket.send(JSON.stringify(resume ? { ...frame, resume } : frame));
  }

  private receive(data: unknown): void {
    const frame = typeof data === "string" ? parseFrame(data) : undefined;
    if (!frame) return;
    this.heard();
    if (frame.op === "welcome") this.welcomed(frame);
    if (frame.op === "live") this.live();
    if (frame.op === "drain") this.drain(frame.reconnect_in_ms);
    this.options.onFrame(frame);
    if (this.state.phase === "draining" && this.options.inFlight() === 0) this.leave();
  }

  private welcomed(welcome: Welcome): void {
    const every = Math.min(Math.max(welcome.heartbeat_ms || 30_000, 5_000), 60_000);
    const beat = () => {
      this.ping();
      this.later(every, beat);
    };
    this.later(every, beat);
  }

  private live(): void {
    if (this.state.phase !== "connecting") return;
    this.freshTickets = 0;
    // A server that lets in and throws out again must not be hammered, so the
    // backoff starts over only once the connection has lasted.
    this.later(provenAfterMs, () => this.backoff.reset());
    this.enter({ phase: "live" });
  }

  private ping(): void {
    if (this.pongDue !== undefined || !this.send({ op: "ping", id: this.id() })) return;
    this.pongDue = this.later(pongWithinMs, () => this.ended(1006));
  }

  private heard(): void {
    clearTimeout(this.pongDue);
    this.pongDue = undefined;
    this.watch();
  }

  // Until it is live a socket may be quiet only for so long; a catch-up that
  // goes on may take its time.
  private watch(): void {
    clearTimeout(this.silence);
    if (this.state.phase !== "connecting" || !this.socket) return;
    this.silence = this.later(establishWithinMs, () => this.state.phase === "connecting" && this.ended(1006));
  }

  private drain(inMs: number): void {
    this.reconnectAt = this.now() + Math.max(0, inMs);
    this.enter({ phase: "draining" });
    this.later(drainPatienceMs, () => this.leave());
  }

  private leave(): void {
    this.socket?.close(1000);
    this.ended(1012);
  }

  private ended(code: number): void {
    const { verdict, waitMs } = interpretClose(code);
    this.drop();
    this.options.onLost(verdict === "reload");
    if (verdict === "resume" || verdict === "reload") this.wait(this.pause(waitMs));
    else if (verdict === "reauthenticate" && this.freshTickets++ === 0) this.wait(0);
    else this.enter({ phase: "ended", verdict: verdict === "reauthenticate" ? "signed_out" : verdict, code });
  }

  private pause(leastMs: number): number {
    if (this.reconnectAt === undefined) return this.backoff.next(leastMs);
    // The server spreads its clients itself: its moment counts as it is.
    this.backoff.reset();
    return Math.max(0, this.reconnectAt - this.now());
  }

  private wait(ms: number): void {
    this.enter({ phase: "waiting", untilMs: this.now() + ms });
    this.later(ms, () => void this.connect());
  }

  private drop(): void {
    this.attempt++;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
    this.pongDue = undefined;
    const socket = this.socket;
    this.socket = undefined;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private later(ms: number, run: () => void): Timer {
    const timer = setTimeout(() => {
      this.timers = this.timers.filter((t) => t !== timer);
      run();
    }, ms);
    this.timers.push(timer);
    return timer;
  }

  private enter(status: Status): void {
    this.state = status;
    this.options.onStatus(status);
  }
}
