// Names of people, fetched once each and when somebody first needs them.

import type { Api } from "../protocol/api.ts";
import type { User } from "../protocol/wire.ts";

const retryAfterMs = 5_000;
// A long list of conversations must not use up the request limit at once.
const atOnce = 4;

export class People {
  private readonly known = new Map<string, User>();
  private readonly asked = new Set<string>();
  private readonly queue: string[] = [];
  private running = 0;
  private readonly api: Pick<Api, "user">;
  private readonly changed: () => void;

  constructor(api: Pick<Api, "user">, changed: () => void) {
    this.api = api;
    this.changed = changed;
  }

  learn(...users: User[]): void {
    for (const user of users) this.known.set(user.id, user);
  }

  /** The person, or undefined while the name is on its way. */
  get(id: string): User | undefined {
    const user = this.known.get(id);
    if (!user && !this.asked.has(id)) {
      this.asked.add(id);
      this.queue.push(id);
      void this.work();
    }
    return user;
  }

  name(id: string): string {
    const user = this.get(id);
    return user ? user.display_name || user.username : "";
  }

  private async work(): Promise<void> {
    if (this.running >= atOnce) return;
    this.running++;
    for (let id = this.queue.shift(); id !== undefined; id = this.queue.shift()) await this.fetch(id);
    this.running--;
  }

  private async fetch(id: string): Promise<void> {
    try {
      this.learn(await this.api.user(id));
      this.changed();
    } catch {
      // Whoever shows the name next asks again, but not in a tight loop.
      setTimeout(() => {
        this.asked.delete(id);
        this.changed();
      }, retryAfterMs);
    }
  }
}
