// What travels: the objects of the REST surface and the frames of nova.v1.
// Field names are the protocol's own, so a value can be passed on as it came.
// Receivers ignore fields they do not know.

export interface User {
  id: string;
  username: string;
  display_name: string;
}

/** What register, login and refresh answer. */
export interface Grant {
  user: User;
  session_id: string;
  device_id: string;
  access_token: string;
  /** Seconds until the access token ends. */
  expires_in: number;
  refresh_token: string;
}

export interface MfaRequired {
  mfa_required: true;
  challenge: string;
  methods: string[];
}

export interface Member {
  user_id: string;
  role: "owner" | "admin" | "member";
  /** How far this member's devices have the conversation, where it is told. */
  delivered_seq?: number;
  read_seq?: number;
}

export interface Conversation {
  id: string;
  kind: "direct" | "group";
  name?: string;
  members: Member[];
  last_seq: number;
  read_seq: number;
  created_at: string;
  last_message?: Message | null;
  unread?: number;
}

export interface Message {
  id: string;
  conversation_id: string;
  /** Dense within the conversation: 1, 2, 3 ... */
  seq: number;
  sender_id: string;
  device_id: string;
  client_msg_id: string;
  body: string;
  version: number;
  created_at: string;
  edited_at?: string;
  recalled_at?: string;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

export interface Welcome {
  op: "welcome";
  id: string;
  session_id: string;
  user_id: string;
  device_id: string;
  epoch: string;
  heartbeat_ms: number;
}

export interface Sent {
  op: "sent";
  id: string;
  conversation_id: string;
  message_id: string;
  seq: number;
  ts: string;
}

export interface Receipt {
  op: "receipt";
  kind: "delivered" | "read";
  conversation_id: string;
  /** Absent in large groups, where receipts are counted instead. */
  user_id?: string;
  device_id?: string;
  seq: number;
}

export interface Typing {
  op: "typing";
  conversation_id: string;
  user_id: string;
  on: boolean;
}

export interface ErrorFrame {
  op: "error";
  id?: string;
  code: string;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
  correlation_id?: string;
}

export type ServerFrame =
  | Welcome
  | Sent
  | Receipt
  | Typing
  | ErrorFrame
  | { op: "live" }
  | { op: "message"; cid?: string; message: Message }
  | { op: "edited" | "recalled"; message: Message }
  | { op: "conversation"; conversation_id?: string; conversation?: Conversation }
  | { op: "resync"; reason: "epoch" | "retention"; conversation_id?: string }
  | { op: "drain"; reconnect_in_ms: number }
  | { op: "ok"; id?: string }
  | { op: "pong"; id?: string; conversations?: Record<string, number> };

export interface Resume {
  epoch: string;
  /** Conversation id to the last seq up to which nothing is missing here. */
  conversations: Record<string, number>;
}

export type ClientFrame =
  | { op: "hello"; id: string; ticket: string; resume?: Resume }
  | { op: "send"; id: string; conversation_id: string; client_msg_id: string; body: string }
  | { op: "ack"; conversation_id: string; seq: number }
  | { op: "read"; id: string; conversation_id: string; seq: number }
  | { op: "typing"; conversation_id: string; on: boolean }
  | { op: "ping"; id: string };

/** Reads one text frame; what is no JSON object with an op is undefined. */
export function parseFrame(text: string): ServerFrame | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    return typeof (value as { op?: unknown }).op === "string" ? (value as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}
