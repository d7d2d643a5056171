// The REST surface, as far as this client uses it.

import { Problem, SignedOut, Unreachable } from "./problem.ts";
import { Session, type SessionStorage } from "./session.ts";
import type { Conversation, Grant, Message, MfaRequired, Page, User } from "./wire.ts";

const answerWithinMs = 15_000;

export interface ApiOptions {
  base: string;
  storage: SessionStorage;
  fetch?: typeof fetch;
  now?: () => number;
}

export interface Registration {
  username: string;
  password: string;
  display_name?: string;
  device_id: string;
}

interface Call {
  method: string;
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export class Api {
  readonly session: Session;
  private readonly base: string;
  private readonly fetch: typeof fetch;

  constructor({ base, storage, fetch: fetcher, now }: ApiOptions) {
    this.base = base;
    this.fetch = fetcher ?? ((input, init) => fetch(input, init));
    this.session = new Session(storage, (refresh_token) => this.refresh(refresh_token), now);
  }

  async register(registration: Registration): Promise<User> {
    const grant = await this.call<Grant>({ method: "POST", path: "auth/register", body: registration });
    this.session.begin(grant);
    return grant.user;
  }

  /** Signs in; undefined means that the account asks for a second factor. */
  async login(username: string, password: string, device_id: string): Promise<User | undefined> {
    const body = { username, password, device_id };
    const answer = await this.call<Grant | MfaRequired>({ method: "POST", path: "auth/login", body });
    if ("mfa_required" in answer) return undefined;
    this.session.begin(answer);
    return answer.user;
  }

  /** Ends the session here in any case; the server is told when it can be. */
  async logout(): Promise<void> {
    try {
      await this.authed({ method: "POST", path: "auth/logout" });
    } catch {
      // Unreachable or ended already: nothing of it is left on this side.
    } finally {
      this.session.end();
    }
  }

  async ticket(): Promise<string> {
    const answer = await this.authed<{ ticket: string }>({ method: "POST", path: "auth/ticket" });
    return answer.ticket;
  }

  findUsers(q: string): Promise<Page<User>> {
    return this.authed({ method: "GET", path: `users?q=${encodeURIComponent(q)}&limit=20` });
  }

  user(id: string): Promise<User> {
    return this.authed({ method: "GET", path: `users/${encodeURIComponent(id)}` });
  }

  /** All conversations, page by page. */
  async conversations(): Promise<Conversation[]> {
    const all: Conversation[] = [];
    let cursor: string | null = null;
    do {
      const after: string = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const page: Page<Conversation> = await this.authed({ method: "GET", path: `conversations?limit=100${after}` });
      all.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return all;
  }

  conversation(id: string): Promise<Conversation> {
    return this.authed({ method: "GET", path: `conversations/${encodeURIComponent(id)}` });
  }

  direct(userId: string): Promise<Conversation> {
    return this.authed({ method: "POST", path: "conversations", body: { kind: "direct", member_ids: [userId] } });
  }

  /** Creates a group; repeating with the same key answers the same group. */
  group(name: string, memberIds: string[], key: string): Promise<Conversation> {
    const body = { kind: "group", name, member_ids: memberIds };
    return this.authed({ method: "POST", path: "conversations", body, headers: { "Idempotency-Key": key } });
  }

  /** One page of history; descending with before_seq, ascending with after_seq. */
  history(id: string, where: { before_seq: number } | { after_seq: number }, limit: number): Promise<Page<Message>> {
    const [name, seq] = Object.entries(where)[0]!;
    return this.authed({
      method: "GET",
      path: `conversations/${encodeURIComponent(id)}/messages?${name}=${seq}&limit=${limit}`,
    });
  }

  private refresh(refresh_token: string): Promise<Grant> {
    return this.call({ method: "POST", path: "auth/refresh", body: { refresh_token } });
  }

  private async authed<T>(call: Call): Promise<T> {
    const token = await this.session.token();
    try {
      return await this.call<T>(withToken(call, token));
    } catch (error) {
      if (!isUnauthenticated(error)) throw error;
    }
    const renewed = await this.session.token(token);
    try {
      return await this.call<T>(withToken(call, renewed));
    } catch (error) {
      if (!isUnauthenticated(error)) throw error;
      this.session.end();
      throw new SignedOut();
    }
  }

  private async call<T>({ method, path, body, headers = {} }: Call): Promise<T> {
    const init: RequestInit = { method, headers, cache: "no-store", signal: AbortSignal.timeout(answerWithinMs) };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { ...headers, "Content-Type": "application/json" };
    }
    const response = await this.reach(`${this.base}/api/v1/${path}`, init);
    if (response.status === 204) return undefined as T;
    const answer = await readJSON(response);
    if (!response.ok) throw new Problem(response.status, (answer ?? {}) as Record<string, unknown>);
    if (answer === undefined) throw new Unreachable();
    return answer as T;
  }

  private async reach(url: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetch(url, init);
    } catch {
      throw new Unreachable();
    }
  }
}

function withToken(call: Call, token: string): Call {
  return { ...call, headers: { ...call.headers, Authorization: `Bearer ${token}` } };
}

function isUnauthenticated(error: unknown): boolean {
  return error instanceof Problem && error.status === 401;
}

async function readJSON(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    return undefined;
  }
}
