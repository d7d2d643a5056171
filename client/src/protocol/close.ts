// Close codes carry the verdict: whether this client may come back by itself,
// and with what.

/**
 * resume: reconnect and go on from the last seqs.
 * reload: reconnect, but what is here must be reloaded over REST.
 * reauthenticate: the ticket was refused; once, with a fresh one, is allowed.
 * signed_out, replaced, refused: final, only the person can go on.
 */
export type Verdict = "resume" | "reload" | "reauthenticate" | "signed_out" | "replaced" | "refused";

export interface Closed {
  code: number;
  verdict: Verdict;
  /** The least wait before the next attempt, in milliseconds. */
  waitMs: number;
}

const terminal = new Map<number, Verdict>([
  [1000, "refused"],
  [1002, "refused"],
  [1003, "refused"],
  [1007, "refused"],
  [1009, "refused"],
  [4401, "reauthenticate"],
  [4409, "replaced"],
  [4410, "signed_out"],
]);

// Overloaded and rate limited ask for patience; everything else may come back
// as fast as the backoff lets it.
const patience = new Map<number, number>([
  [1013, 5_000],
  [4029, 5_000],
]);

/** Interprets a close code. Codes a browser makes up (1005, 1006) mean a lost connection: resume. */
export function interpretClose(code: number): Closed {
  return { code, verdict: verdictOf(code), waitMs: patience.get(code) ?? 0 };
}

function verdictOf(code: number): Verdict {
  const known = terminal.get(code);
  if (known) return known;
  if (code === 4051) return "reload";
  return code >= 4400 ? "refused" : "resume";
}
