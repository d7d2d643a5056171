// Messages on their way: kept until the server has said `sent`, sent again
// under the same client_msg_id after a reconnect, in the order they were
// written. One message per conversation is in flight, so that neither a lost
// socket nor a rate limit can turn two of them around.

export interface Pending {
  client_msg_id: string;
  conversation_id: string;
  body: string;
  /** When it was written, milliseconds since the epoch. */
  at: number;
  /** Why the server will never take it; absent while it may still go. */
  refused?: string;
}

export interface OutboxStorage {
  load(): Pending[];
  save(items: Pending[]): void;
}

const nowhere: OutboxStorage = { load: () => [], save: () => undefined };

export class Outbox {
  private items: Pending[];
  private readonly flying = new Map<string, Pending>();
  private readonly storage: OutboxStorage;

  constructor(storage: OutboxStorage = nowhere) {
    this.storage = storage;
    this.items = storage.load();
  }

  get size(): number {
    return this.items.length;
  }

  get inFlight(): number {
    return this.flying.size;
  }

  of(conversationId: string): Pending[] {
    return this.items.filter((p) => p.conversation_id === conversationId);
  }

  add(pending: Pending): void {
    this.items.push(pending);
    this.save();
  }

  /** What may go now, oldest first; each is in flight from here on. */
  take(): Pending[] {
    const due: Pending[] = [];
    for (const p of this.items) {
      if (p.refused !== undefined || this.flying.has(p.conversation_id)) continue;
      this.flying.set(p.conversation_id, p);
      due.push(p);
    }
    return due;
  }

  /** The message is stored: by `sent`, or because it came back as our own. */
  confirm(clientMsgId: string): Pending | undefined {
    const found = this.find(clientMsgId);
    if (!found) return undefined;
    this.items = this.items.filter((p) => p !== found);
    this.land(found);
    this.save();
    return found;
  }

  /** The server will not take it, ever; it stays until dropped or retried. */
  refuse(clientMsgId: string, why: string): void {
    const found = this.find(clientMsgId);
    if (!found) return;
    found.refused = why;
    this.land(found);
    this.save();
  }

  /** Not now: back to where it stood, before what was written later. */
  postpone(clientMsgId: string): void {
    const found = this.find(clientMsgId);
    if (found) this.land(found);
  }

  retry(clientMsgId: string): void {
    const found = this.find(clientMsgId);
    if (!found) return;
    delete found.refused;
    this.save();
  }

  drop(clientMsgId: string): void {
    this.confirm(clientMsgId);
  }

  /** The socket is gone: whatever was in flight is unanswered and goes again, first. */
  disconnected(): void {
    this.flying.clear();
  }

  private find(clientMsgId: string): Pending | undefined {
    return this.items.find((p) => p.client_msg_id === clientMsgId);
  }

  private land(p: Pending): void {
    if (this.flying.get(p.conversation_id) === p) this.flying.delete(p.conversation_id);
  }

  private save(): void {
    this.storage.save(this.items);
  }
}
