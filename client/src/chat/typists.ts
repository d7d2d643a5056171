// Who is typing where. Typing is ephemeral: an `off` may be lost, so each entry
// also ends by itself.

import type { Typing } from "../protocol/wire.ts";

const forgetAfterMs = 6_000;
const repeatEveryMs = 3_000;
const idleAfterMs = 4_000;

type Timer = ReturnType<typeof setTimeout>;

/** The others. */
export class Typists {
  private readonly timers = new Map<string, Map<string, Timer>>();
  private readonly changed: () => void;

  constructor(changed: () => void) {
    this.changed = changed;
  }

  in(conversationId: string): string[] {
    return [...(this.timers.get(conversationId)?.keys() ?? [])];
  }

  take({ conversation_id, user_id, on }: Typing): void {
    this.clear(conversation_id, user_id);
    if (on) {
      const here = this.timers.get(conversation_id) ?? new Map<string, Timer>();
      here.set(user_id, setTimeout(() => this.take({ op: "typing", conversation_id, user_id, on: false }), forgetAfterMs));
      this.timers.set(conversation_id, here);
    }
    this.changed();
  }

  clear(conversationId: string, userId: string): void {
    const here = this.timers.get(conversationId);
    clearTimeout(here?.get(userId));
    here?.delete(userId);
  }
}

/** This person: told at the first keystroke, repeated while it lasts, ended by silence. */
export class MyTyping {
  private where: string | undefined;
  private toldAt = 0;
  private idle: Timer | undefined;
  private readonly tell: (conversationId: string, on: boolean) => void;

  constructor(tell: (conversationId: string, on: boolean) => void) {
    this.tell = tell;
  }

  keystroke(conversationId: string): void {
    if (this.where !== conversationId) this.stop();
    if (Date.now() - this.toldAt >= repeatEveryMs) {
      this.tell(conversationId, true);
      this.toldAt = Date.now();
    }
    this.where = conversationId;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.stop(), idleAfterMs);
  }

  stop(): void {
    clearTimeout(this.idle);
    if (this.where !== undefined) this.tell(this.where, false);
    this.where = undefined;
    this.toldAt = 0;
  }
}
