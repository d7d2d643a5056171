// Who is signed in on this device, and the access token that proves it: renewed
// shortly before it ends, and once more whenever the server refuses it.

import { Problem, SignedOut } from "./problem.ts";
import type { Grant, User } from "./wire.ts";

export interface StoredSession {
  user: User;
  session_id: string;
  device_id: string;
  access_token: string;
  refresh_token: string;
  /** Milliseconds since the epoch. */
  expires_at: number;
}

export interface SessionStorage {
  load(): StoredSession | undefined;
  save(session: StoredSession | undefined): void;
}

// Renewal starts this long before the end, so that no call meets an ended token.
const renewBeforeMs = 45_000;

export class Session {
  private current: StoredSession | undefined;
  private renewing: Promise<string> | undefined;
  private readonly storage: SessionStorage;
  private readonly refresh: (refreshToken: string) => Promise<Grant>;
  private readonly now: () => number;

  constructor(storage: SessionStorage, refresh: (refreshToken: string) => Promise<Grant>, now: () => number = Date.now) {
    this.storage = storage;
    this.refresh = refresh;
    this.now = now;
    this.current = storage.load();
  }

  get user(): User | undefined {
    return this.current?.user;
  }

  get deviceId(): string | undefined {
    return this.current?.device_id;
  }

  begin(grant: Grant): void {
    const { user, session_id, device_id, access_token, refresh_token } = grant;
    const expires_at = this.now() + grant.expires_in * 1000;
    this.current = { user, session_id, device_id, access_token, refresh_token, expires_at };
    this.storage.save(this.current);
  }

  /** Another tab of the same session has renewed it: its tokens count from now on. */
  adopt(session: StoredSession): void {
    if (this.current?.session_id !== session.session_id || session.expires_at <= this.current.expires_at) return;
    this.current = session;
    this.storage.save(session);
  }

  end(): void {
    this.current = undefined;
    this.storage.save(undefined);
  }

  /** A token good for a call now. Refused ones are named, so that they are not given again. */
  async token(refused?: string): Promise<string> {
    const current = this.current;
    if (!current) throw new SignedOut();
    const fresh = current.expires_at - this.now() > renewBeforeMs;
    if (fresh && current.access_token !== refused) return current.access_token;
    this.renewing ??= this.renew(current).finally(() => (this.renewing = undefined));
    return this.renewing;
  }

  private async renew(from: StoredSession): Promise<string> {
    try {
      const grant = await this.refresh(from.refresh_token);
      if (this.current !== from) throw new SignedOut();
      this.begin(grant);
      return grant.access_token;
    } catch (error) {
      const ended = error instanceof Problem && (error.status === 401 || error.status === 403);
      if (!ended) throw error;
      if (this.current === from) this.end();
      throw new SignedOut();
    }
  }
}
