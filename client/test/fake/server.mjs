// A stand-in for Nova's server, in memory: enough of the protocol for working
// on the client without the server and for its browser test. It keeps its
// state over restart(), as the real one keeps its database.

import { createServer } from "node:http";
import { readFileSync, existsSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { WebSocketServer } from "ws";

const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const policy =
  "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; script-src 'self'; frame-ancestors 'none'";

let counter = 0;
const nextId = (prefix) => `${prefix}${(Date.now() * 1000 + counter++).toString(36).toUpperCase()}`;
const now = () => new Date().toISOString();

class Refusal extends Error {
  constructor(status, code, detail, errors) {
    super(detail);
    Object.assign(this, { status, code, detail, errors });
  }
}

export class FakeServer {
  constructor({ dist, accessSeconds = 300 }) {
    this.dist = dist;
    this.accessSeconds = accessSeconds;
    this.epoch = nextId("E");
    this.users = new Map();
    this.sessions = new Map();
    this.tickets = new Map();
    this.conversations = new Map();
    this.acked = new Map();
    this.sockets = new Set();
  }

  async start(port = 0) {
    this.http = createServer((req, res) => this.serve(req, res));
    this.wss = new WebSocketServer({ noServer: true, handleProtocols: (p) => (p.has("nova.v1") ? "nova.v1" : false) });
    this.http.on("upgrade", (req, raw, head) => this.wss.handleUpgrade(req, raw, head, (ws) => this.accept(ws)));
    await new Promise((done) => this.http.listen(port, "127.0.0.1", done));
    this.port = this.http.address().port;
    return `http://127.0.0.1:${this.port}`;
  }

  async stop({ drainMs = 500 } = {}) {
    for (const s of this.sockets) this.say(s, { op: "drain", reconnect_in_ms: drainMs });
    await new Promise((done) => setTimeout(done, 150));
    for (const s of this.sockets) s.ws.close(1012);
    this.http.closeAllConnections();
    await new Promise((done) => this.http.close(done));
  }

  /** Stops, stays away for a while, comes back on the same port. */
  async restart(awayMs = 800) {
    await this.stop();
    await new Promise((done) => setTimeout(done, awayMs));
    await this.start(this.port);
  }

  // --- HTTP ---

  async serve(req, res) {
    const url = new URL(req.url, "http://fake");
    if (!url.pathname.startsWith("/api/v1/")) return this.file(url.pathname, res);
    try {
      let raw = "";
      for await (const chunk of req) raw += chunk;
      const body = raw ? JSON.parse(raw) : {};
      const [status, answer] = this.route(req, url, body);
      res.writeHead(status, { "Content-Type": "application/json" });
      res.end(status === 204 ? undefined : JSON.stringify(answer));
    } catch (e) {
      const { status = 500, code = "internal", detail = "", errors } = e instanceof Refusal ? e : {};
      if (status === 500) console.error(e);
      res.writeHead(status, { "Content-Type": "application/problem+json" });
      res.end(JSON.stringify({ type: "about:blank", title: code, status, code, detail, correlation_id: "fake", retryable: status >= 500, errors }));
    }
  }

  file(path, res) {
    const name = join(this.dist, normalize(path === "/" ? "/index.html" : path));
    if (!name.startsWith(this.dist) || !existsSync(name)) return res.writeHead(404).end();
    res.writeHead(200, { "Content-Type": types[extname(name)] ?? "application/octet-stream", "Content-Security-Policy": policy });
    res.end(readFileSync(name));
  }

  route(req, url, body) {
    const parts = url.pathname.slice("/api/v1/".length).split("/");
    const is = (method, pattern) => {
      const want = pattern.split("/");
      return req.method === method && want.length === parts.length && want.every((w, i) => w === "*" || w === parts[i]);
    };
    if (is("POST", "auth/register")) return [201, this.register(body)];
    if (is("POST", "auth/login")) return [200, this.login(body)];
    if (is("POST", "auth/refresh")) return [200, this.refresh(body)];
    const session = this.bySession((req.headers.authorization ?? "").replace(/^Bearer /, ""));
    const me = session.user.id;
    if (is("POST", "auth/logout")) return [204, this.logout(session)];
    if (is("POST", "auth/ticket")) return [200, this.ticket(session)];
    if (is("GET", "users")) return [200, { items: this.search(url.searchParams.get("q") ?? ""), next_cursor: null }];
    if (is("GET", "users/*")) return [200, this.person(this.userById(parts[1]))];
    if (is("POST", "conversations")) return this.open(me, body);
    if (is("GET", "conversations")) return [200, { items: this.mine(me).map((c) => this.view(c, me)), next_cursor: null }];
    if (is("GET", "conversations/*")) return [200, this.view(this.conversation(parts[1], me), me)];
    if (is("GET", "conversations/*/messages")) return [200, this.history(this.conversation(parts[1], me), url.searchParams)];
    throw new Refusal(404, "not_found", "There is nothing here.");
  }

  register({ username, password, display_name, device_id }) {
    const name = (username ?? "").toLowerCase();
    const errors = [];
    if (!/^[a-z0-9._-]{3,32}$/.test(name)) errors.push({ field: "username", detail: "3 to 32 of a-z, 0-9, dot, underscore, hyphen" });
    if ((password ?? "").length < 10) errors.push({ field: "password", detail: "10 to 256 bytes" });
    if (errors.length) throw new Refusal(422, "invalid", "Some fields are not as they should be.", errors);
    if ([...this.users.values()].some((u) => u.username === name)) throw new Refusal(409, "username_taken", "Taken.");
    const user = { id: nextId("U"), username: name, display_name: display_name || name, password };
    this.users.set(user.id, user);
    return this.grant(user, device_id);
  }

  login({ username, password, device_id }) {
    const user = [...this.users.values()].find((u) => u.username === (username ?? "").toLowerCase());
    if (!user || user.password !== password) throw new Refusal(401, "login_refused", "Refused.");
    return this.grant(user, device_id);
  }

  grant(user, device_id = nextId("D")) {
    for (const s of this.sessions.values()) if (s.user === user && s.device_id === device_id) this.revoke(s);
    const session = { id: nextId("S"), user, device_id };
    this.sessions.set(session.id, session);
    return this.tokens(session);
  }

  tokens(session) {
    session.access = nextId("A");
    session.until = Date.now() + this.accessSeconds * 1000;
    session.refresh = nextId("R");
    return {
      user: this.person(session.user),
      session_id: session.id,
      device_id: session.device_id,
      access_token: session.access,
      expires_in: this.accessSeconds,
      refresh_token: session.refresh,
    };
  }

  refresh({ refresh_token }) {
    const session = [...this.sessions.values()].find((s) => s.refresh === refresh_token);
    if (!session) throw new Refusal(401, "unauthenticated", "Refused.");
    return this.tokens(session);
  }

  bySession(access) {
    const session = [...this.sessions.values()].find((s) => s.access === access && s.until > Date.now());
    if (!session) throw new Refusal(401, "unauthenticated", "Sign in first.");
    return session;
  }

  revoke(session) {
    this.sessions.delete(session.id);
    for (const s of this.sockets) if (s.session === session) s.ws.close(4410);
  }

  logout(session) {
    this.revoke(session);
  }

  ticket(session) {
    const ticket = nextId("T");
    this.tickets.set(ticket, session);
    return { ticket, expires_in: 30 };
  }

  person({ id, username, display_name }) {
    return { id, username, display_name };
  }

  userById(id) {
    const user = this.users.get(id);
    if (!user) throw new Refusal(404, "not_found", "There is nothing here.");
    return user;
  }

  search(q) {
    const like = q.toLowerCase();
    return [...this.users.values()]
      .filter((u) => u.username.startsWith(like) || u.display_name.toLowerCase().startsWith(like))
      .map((u) => this.person(u));
  }

  open(me, { kind, name, member_ids }) {
    const ids = [...new Set([me, ...member_ids])];
    ids.forEach((id) => this.userById(id));
    if (kind === "direct") {
      const found = this.mine(me).find((c) => c.kind === "direct" && ids.every((id) => c.members.has(id)));
      if (found) return [200, this.view(found, me)];
    }
    const c = { id: nextId("K"), kind, name, owner: me, members: new Map(ids.map((id) => [id, { read: 0 }])), log: [], created_at: now() };
    this.conversations.set(c.id, c);
    for (const id of ids) this.tell(id, (user) => ({ op: "conversation", change: "created", conversation: this.view(c, user) }));
    return [201, this.view(c, me)];
  }

  mine(me) {
    return [...this.conversations.values()].filter((c) => c.members.has(me));
  }

  conversation(id, me) {
    const c = this.conversations.get(id);
    if (!c || !c.members.has(me)) throw new Refusal(404, "not_found", "There is nothing here.");
    return c;
  }

  view(c, me) {
    const role = (id) => (c.kind === "group" && id === c.owner ? "owner" : "member");
    const read_seq = c.members.get(me).read;
    return {
      id: c.id,
      kind: c.kind,
      ...(c.name ? { name: c.name } : {}),
      members: [...c.members.keys()].map((user_id) => ({ user_id, role: role(user_id) })),
      last_seq: c.log.length,
      read_seq,
      unread: c.log.filter((m) => m.seq > read_seq && m.sender_id !== me).length,
      last_message: c.log.at(-1) ?? null,
      created_at: c.created_at,
    };
  }

  history(c, query) {
    const limit = Math.min(100, Number(query.get("limit") ?? 50));
    if (query.has("after_seq")) {
      const all = c.log.filter((m) => m.seq > Number(query.get("after_seq")));
      return { items: all.slice(0, limit), next_cursor: all.length > limit ? "more" : null };
    }
    const before = Number(query.get("before_seq") ?? Infinity);
    const all = c.log.filter((m) => m.seq < before).reverse();
    return { items: all.slice(0, limit), next_cursor: all.length > limit ? "more" : null };
  }

  // --- WebSocket ---

  accept(ws) {
    const socket = { ws };
    ws.on("message", (data) => this.frame(socket, JSON.parse(String(data))));
    ws.on("close", () => this.sockets.delete(socket));
  }

  say(socket, frame) {
    socket.ws.send(JSON.stringify(frame));
  }

  tell(userId, make, except) {
    for (const s of this.sockets) if (s.session.user.id === userId && s !== except) this.say(s, make(userId, s));
  }

  frame(socket, f) {
    if (f.op === "hello") return this.hello(socket, f);
    const me = socket.session.user.id;
    if (f.op === "ping") return this.pong(socket, me, f.id);
    try {
      const c = this.conversation(f.conversation_id, me);
      if (f.op === "send") this.send(socket, c, f);
      if (f.op === "ack") this.ack(socket, c, f.seq);
      if (f.op === "read") this.read(socket, c, f);
      if (f.op === "typing") this.others(c, me, { op: "typing", conversation_id: c.id, user_id: me, on: f.on });
    } catch (e) {
      this.say(socket, { op: "error", id: f.id, code: e.code ?? "internal", message: e.detail ?? "", retryable: false });
    }
  }

  pong(socket, me, id) {
    const conversations = Object.fromEntries(this.mine(me).map((c) => [c.id, c.log.length]));
    this.say(socket, { op: "pong", id, conversations });
  }

  hello(socket, { id, ticket, resume }) {
    const session = this.tickets.get(ticket);
    this.tickets.delete(ticket);
    if (!session || !this.sessions.has(session.id)) return socket.ws.close(4401);
    for (const s of this.sockets) if (s.session === session) s.ws.close(4409);
    socket.session = session;
    this.sockets.add(socket);
    const { user, device_id } = session;
    this.say(socket, { op: "welcome", id, session_id: session.id, user_id: user.id, device_id, epoch: this.epoch, heartbeat_ms: 30000, limits: {} });
    const ackedHere = this.acked.get(`${user.id}/${device_id}`);
    for (const c of this.mine(user.id)) {
      const from = resume?.conversations[c.id] ?? (ackedHere ? (ackedHere.get(c.id) ?? 0) : c.log.length);
      for (const m of c.log.slice(from)) this.say(socket, { op: "message", message: m });
    }
    this.say(socket, { op: "live" });
  }

  send(socket, c, f) {
    const { user, device_id } = socket.session;
    let m = c.log.find((x) => x.client_msg_id === f.client_msg_id && x.device_id === device_id);
    const repeat = m !== undefined;
    m ??= {
      id: nextId("M"),
      conversation_id: c.id,
      seq: c.log.length + 1,
      sender_id: user.id,
      device_id,
      client_msg_id: f.client_msg_id,
      body: f.body,
      version: 1,
      created_at: now(),
    };
    if (!repeat) c.log.push(m);
    this.say(socket, { op: "sent", id: f.id, conversation_id: c.id, message_id: m.id, seq: m.seq, ts: m.created_at });
    if (repeat) return;
    for (const id of c.members.keys()) this.tell(id, () => ({ op: "message", message: m }), socket);
  }

  ack(socket, c, seq) {
    const { user, device_id } = socket.session;
    const key = `${user.id}/${device_id}`;
    if (!this.acked.has(key)) this.acked.set(key, new Map());
    this.acked.get(key).set(c.id, seq);
    this.others(c, user.id, { op: "receipt", kind: "delivered", conversation_id: c.id, user_id: user.id, device_id, seq });
  }

  read(socket, c, { id, seq }) {
    const { user, device_id } = socket.session;
    const member = c.members.get(user.id);
    member.read = Math.max(member.read, seq);
    this.say(socket, { op: "ok", id });
    for (const who of c.members.keys()) {
      this.tell(who, () => ({ op: "receipt", kind: "read", conversation_id: c.id, user_id: user.id, device_id, seq }), socket);
    }
  }

  others(c, me, frame) {
    for (const id of c.members.keys()) if (id !== me) this.tell(id, () => frame);
  }
}
