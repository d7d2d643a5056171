// Problem documents (RFC 9457) and what a person is told about them.

export interface FieldError {
  field: string;
  message: string;
}

/** A call that the server refused, with words that may be shown. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number;
  readonly correlationId: string;
  readonly fields: FieldError[];

  constructor(status: number, doc: Record<string, unknown>) {
    super(sentence(doc, status));
    this.name = "Problem";
    this.status = status;
    this.code = text(doc.code) || "internal";
    this.retryable = doc.retryable === true;
    this.retryAfterMs = typeof doc.retry_after_ms === "number" ? doc.retry_after_ms : 0;
    this.correlationId = text(doc.correlation_id);
    this.fields = fieldErrors(doc.errors);
  }
}

/** The server could not be reached, or did not answer in time. */
export class Unreachable extends Error {
  constructor() {
    super("Nova cannot be reached right now. Check your connection and try again.");
    this.name = "Unreachable";
  }
}

/** Nobody is signed in any more: the session ended. */
export class SignedOut extends Error {
  constructor() {
    super("Your session has ended. Please sign in again.");
    this.name = "SignedOut";
  }
}

/** Words for whatever went wrong; never a raw body, a stack or a status line. */
export function describe(error: unknown): string {
  if (error instanceof Problem || error instanceof Unreachable || error instanceof SignedOut) return error.message;
  return "Something went wrong. Please try again.";
}

// Where a server's own words would not help the person, ours stand instead.
const ownWords: Record<string, string> = {
  login_refused: "That user name and password do not match.",
  login_throttled: "Too many attempts. Wait a little and try again.",
  rate_limited: "That was a little too fast. Wait a moment and try again.",
  username_taken: "That user name is taken.",
  auth_busy: "Nova is busy right now. Try again in a moment.",
  overloaded: "Nova is busy right now. Try again in a moment.",
  unavailable: "Nova is not available right now. Try again in a moment.",
  internal: "Something went wrong on the server. Please try again.",
};

export function wordsFor(code: string, fallback: string): string {
  return ownWords[code] ?? (fallback || "Something went wrong. Please try again.");
}

function sentence(doc: Record<string, unknown>, status: number): string {
  const code = text(doc.code) || (status >= 500 ? "unavailable" : "");
  return wordsFor(code, text(doc.detail) || text(doc.title));
}

function fieldErrors(value: unknown): FieldError[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((e: Record<string, unknown>) => {
    const field = text(e?.field) || text(e?.pointer) || text(e?.location);
    const message = text(e?.message) || text(e?.detail);
    return message ? [{ field: field.replace(/^.*[./#]/, ""), message }] : [];
  });
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
