// The state behind the screen of one signed-in person. Views read it and call
// its methods; they are told once per turn that something changed.

import type { Api } from "../protocol/api.ts";
import type { Status } from "../protocol/connection.ts";
import type { Pending } from "../protocol/outbox.ts";
import { describe, SignedOut } from "../protocol/problem.ts";
import { Sync, type Observer } from "../protocol/sync.ts";
import { uuidv7 } from "../protocol/uuid.ts";
import type { Conversation, Message, Receipt, User } from "../protocol/wire.ts";
import { Marks, type Tick } from "./marks.ts";
import { People } from "./people.ts";
import { deviceId, marksStore, outboxStore } from "./storage.ts";
import { MyTyping, Typists } from "./typists.ts";

export interface ChatOptions {
  api: Api;
  me: User;
  socketUrl: string;
  /** The session is over; the words say why. */
  onSignedOut: (why: string) => void;
}

/** A conversation with what this screen adds to it. */
export interface Room extends Conversation {
  unread: number;
}

const keepAfterMs = 300;
const signedOutWords = "You were signed out, because this session was ended elsewhere.";

export class Chat {
  readonly me: User;
  readonly api: Api;
  readonly people: People;
  readonly typists: Typists;
  readonly drafts = new Map<string, string>();
  status: Status = { phase: "idle" };
  /** The list was loaded once; before that an empty list means nothing. */
  ready = false;
  /** Why the list could not be loaded, while it could not. */
  trouble: string | undefined;
  /** The last thing worth saying aloud, for screen readers. */
  announcement = "";
  private readonly rooms = new Map<string, Room>();
  private readonly marks: Map<string, Marks>;
  private readonly pageTrouble = new Map<string, string>();
  private readonly pageRunning = new Set<string>();
  private readonly listeners = new Set<() => void>();
  private scheduled = false;
  private keeping: ReturnType<typeof setTimeout> | undefined;
  private readonly myTyping: MyTyping;
  private readonly sync: Sync;
  private readonly options: ChatOptions;

  constructor(options: ChatOptions) {
    this.options = options;
    this.me = options.me;
    this.api = options.api;
    const stored = Object.entries(marksStore.load(this.me.id));
    this.marks = new Map(stored.map(([id, marks]) => [id, new Marks(marks)]));
    this.people = new People(options.api, () => this.changed());
    this.people.learn(options.me);
    this.typists = new Typists(() => this.changed());
    this.sync = new Sync({
      api: options.api,
      open: () => new WebSocket(options.socketUrl, ["nova.v1"]),
      me: options.me.id,
      device: options.api.session.deviceId ?? deviceId(),
      observer: this.observer(),
      storage: outboxStore(options.me.id),
    });
    this.myTyping = new MyTyping((id, on) => this.sync.typing(id, on));
  }

  start(): void {
    this.sync.connection.start();
  }

  stop(): void {
    clearTimeout(this.keeping);
    this.sync.stop();
    this.listeners.clear();
  }

  /** After "another window took over" or a refusal: this window again. */
  takeOver(): void {
    this.sync.connection.start();
  }

  hurry(): void {
    this.sync.connection.hurry();
  }

  networkLost(): void {
    this.sync.connection.lost();
    this.changed();
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  // --- what is shown ---

  /** Newest first. */
  list(): Room[] {
    return [...this.rooms.values()].sort((a, b) => this.when(b).localeCompare(this.when(a)) || b.id.localeCompare(a.id));
  }

  room(id: string): Room | undefined {
    return this.rooms.get(id);
  }

  get unread(): number {
    return [...this.rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  title(room: Room): string {
    if (room.kind === "group") return room.name || "Group";
    const other = this.others(room)[0];
    return other === undefined ? `${this.me.display_name} (you)` : this.people.name(other);
  }

  others(room: Room): string[] {
    return room.members.map((m) => m.user_id).filter((id) => id !== this.me.id);
  }

  messages(id: string): readonly Message[] {
    return this.sync.timeline(id)?.messages() ?? [];
  }

  /** Written and not yet stored. */
  pending(id: string): Pending[] {
    const stored = new Set(this.messages(id).map((m) => m.client_msg_id));
    return this.sync.outbox.of(id).filter((p) => !stored.has(p.client_msg_id));
  }

  newest(id: string): Message | undefined {
    return this.sync.timeline(id)?.newest();
  }

  tick(room: Room, seq: number): Tick {
    return this.marks.get(room.id)?.tick(seq, this.others(room)) ?? "sent";
  }

  /** Whether what is here of the conversation means anything yet. */
  loaded(id: string): boolean {
    return this.sync.timeline(id) !== undefined;
  }

  hasOlder(id: string): boolean {
    const timeline = this.sync.timeline(id);
    return timeline !== undefined && !timeline.reachesStart;
  }

  page(id: string): { running: boolean; trouble: string | undefined } {
    return { running: this.pageRunning.has(id), trouble: this.pageTrouble.get(id) };
  }

  // --- what one does ---

  async older(id: string): Promise<void> {
    if (this.pageRunning.has(id) || !this.hasOlder(id)) return;
    this.pageRunning.add(id);
    this.pageTrouble.delete(id);
    this.changed();
    try {
      await this.sync.older(id);
    } catch (error) {
      this.pageTrouble.set(id, describe(error));
    }
    this.pageRunning.delete(id);
    this.changed();
  }

  send(id: string, body: string): void {
    this.myTyping.stop();
    this.sync.send(id, body);
    this.changed();
  }

  retry(pending: Pending): void {
    this.sync.retry(pending.client_msg_id);
    this.changed();
  }

  discard(pending: Pending): void {
    this.sync.outbox.drop(pending.client_msg_id);
    this.changed();
  }

  keystroke(id: string, text: string): void {
    this.drafts.set(id, text);
    if (text.trim() === "") this.myTyping.stop();
    else this.myTyping.keystroke(id);
  }

  /** The conversation is in view, down to its newest message. */
  seen(id: string): void {
    const room = this.rooms.get(id);
    if (!room || room.unread === 0) return;
    const high = this.sync.timeline(id)?.high ?? 0;
    room.unread = 0;
    room.read_seq = Math.max(room.read_seq, high);
    if (high > 0) this.sync.read(id, high);
    this.changed();
  }

  async openDirect(user: User): Promise<string> {
    this.people.learn(user);
    return this.take(await this.api.direct(user.id));
  }

  async openGroup(name: string, members: User[], key: string): Promise<string> {
    this.people.learn(...members);
    return this.take(await this.api.group(name, members.map((m) => m.id), key));
  }

  newGroupKey(): string {
    return uuidv7();
  }

  async signOut(): Promise<void> {
    this.myTyping.stop();
    this.sync.stop();
    outboxStore(this.me.id).save([]);
    marksStore.save(this.me.id, undefined);
    await this.api.logout();
    this.options.onSignedOut("");
  }

  // --- what comes in ---

  private observer(): Observer {
    return {
      status: (status) => this.entered(status),
      live: () => void this.reload(),
      resync: () => this.resync(),
      changed: () => this.changed(),
      arrived: (message) => this.arrived(message),
      receipt: (receipt) => this.receipt(receipt),
      typing: (typing) => typing.user_id !== this.me.id && this.typists.take(typing),
      conversation: (id, conversation) => void this.conversation(id, conversation),
    };
  }

  private entered(status: Status): void {
    this.status = status;
    this.changed();
    if (status.phase !== "ended" || status.verdict !== "signed_out") return;
    this.api.session.end();
    this.options.onSignedOut(status.code === 4410 ? signedOutWords : new SignedOut().message);
  }

  // During the catch-up `live` comes next and reloads; later it is up to us.
  private resync(): void {
    if (this.status.phase === "live") void this.reload();
    this.changed();
  }

  private async reload(): Promise<void> {
    // Taken before asking: what comes in meanwhile may be missing in the answer.
    const gone = new Set(this.rooms.keys());
    try {
      const all = await this.api.conversations();
      for (const conversation of all) {
        gone.delete(conversation.id);
        this.take(conversation);
      }
      for (const id of gone) this.rooms.delete(id);
      this.ready = true;
      this.trouble = undefined;
    } catch (error) {
      this.trouble = describe(error);
      if (error instanceof SignedOut) this.options.onSignedOut(error.message);
    }
    this.changed();
  }

  /** Again, on the person's word. */
  reloadList(): void {
    void this.reload();
  }

  private take(conversation: Conversation): string {
    const { id } = conversation;
    this.sync.known(conversation);
    const old = this.rooms.get(id);
    const read_seq = Math.max(conversation.read_seq ?? 0, old?.read_seq ?? 0);
    // Only lists count; a single conversation keeps the count it has here.
    const told = conversation.unread ?? old?.unread ?? Math.max(0, conversation.last_seq - read_seq);
    const counted = conversation.unread === undefined && old !== undefined;
    const since = counted ? 0 : this.unreadAfter(id, conversation.last_seq);
    const unread = read_seq >= conversation.last_seq ? this.unreadAfter(id, read_seq) : told + since;
    this.rooms.set(id, { ...conversation, read_seq, unread });
    const marks = this.marks.get(id) ?? new Marks();
    marks.members(conversation.members);
    this.marks.set(id, marks);
    this.changed();
    return id;
  }

  private async conversation(id: string, conversation: Conversation | undefined): Promise<void> {
    if (conversation?.members && !conversation.members.some((m) => m.user_id === this.me.id)) {
      this.rooms.delete(id);
      return this.changed();
    }
    try {
      this.take(conversation?.members ? conversation : await this.api.conversation(id));
    } catch {
      // Left, removed, or out of reach: the next reload of the list tells.
    }
  }

  private arrived(message: Message): void {
    const { conversation_id: id, sender_id } = message;
    this.typists.clear(id, sender_id);
    const room = this.rooms.get(id);
    if (room && sender_id !== this.me.id && message.seq > room.read_seq) {
      room.unread++;
      this.announcement = `${this.people.name(sender_id)}: ${message.body}`;
    }
    this.changed();
  }

  private receipt(receipt: Receipt): void {
    const { conversation_id: id, user_id, kind, seq } = receipt;
    const room = this.rooms.get(id);
    if (!room) return;
    if (user_id !== this.me.id) this.mark(id, receipt);
    else if (kind === "read") this.readElsewhere(room, seq);
    this.changed();
  }

  private mark(id: string, receipt: Receipt): void {
    this.marks.get(id)?.receipt(receipt);
    // Not with each of many receipts: once when they pause.
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => this.keepMarks(), keepAfterMs);
  }

  private keepMarks(): void {
    const all = [...this.marks].map(([id, marks]) => [id, marks.stored()] as const);
    marksStore.save(this.me.id, Object.fromEntries(all));
  }

  private readElsewhere(room: Room, seq: number): void {
    if (seq <= room.read_seq) return;
    room.read_seq = seq;
    room.unread = this.unreadAfter(room.id, seq);
  }

  /** Messages of others after seq, as far as they are here. */
  private unreadAfter(id: string, seq: number): number {
    return this.messages(id).filter((m) => m.seq > seq && m.sender_id !== this.me.id).length;
  }

  private when(room: Room): string {
    return this.newest(room.id)?.created_at ?? room.created_at;
  }

  private changed(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      for (const listener of this.listeners) listener();
    });
  }
}
