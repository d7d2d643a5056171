// Times, names and states in words.

import type { Status } from "../protocol/connection.ts";

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const longDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const dayMs = 86_400_000;

function daysAgo(date: Date): number {
  const midnight = (d: Date) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  return Math.round((midnight(new Date()) - midnight(date)) / dayMs);
}

export const timeOf = (iso: string | number) => clock.format(new Date(iso));
export const momentOf = (iso: string | number) => full.format(new Date(iso));

/** For the list: the shortest that is unambiguous. */
export function shortWhen(iso: string): string {
  const date = new Date(iso);
  const ago = daysAgo(date);
  if (ago <= 0) return clock.format(date);
  if (ago === 1) return "Yesterday";
  return ago < 7 ? weekday.format(date) : shortDate.format(date);
}

/** For the line between two days. */
export function dayOf(iso: string): string {
  const date = new Date(iso);
  const ago = daysAgo(date);
  if (ago <= 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago < 200 ? longDay.format(date) : longDate.format(date);
}

export const sameDay = (a: string, b: string) => new Date(a).toDateString() === new Date(b).toDateString();

/** How the connection is, calmly; undefined when there is nothing to say. */
export function connectionWords(status: Status, online: boolean): string | undefined {
  switch (status.phase) {
    case "live":
    case "idle":
    case "ended":
      return undefined;
    case "draining":
      return "Server restarting…";
    case "connecting":
      return online ? "Connecting…" : "Offline, will send when back";
    case "waiting":
      return online ? "Reconnecting…" : "Offline, will send when back";
  }
}

export function typingWords(names: string[]): string {
  const known = names.filter((n) => n !== "");
  if (known.length === 0) return "";
  if (known.length === 1) return `${known[0]} is typing`;
  if (known.length === 2) return `${known[0]} and ${known[1]} are typing`;
  return "Several people are typing";
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0]!, words.at(-1)!] : words;
  return letters.map((w) => [...w][0] ?? "").join("").toLocaleUpperCase();
}

/** A stable number from 0 to n - 1 for an id. */
export function shade(id: string, n: number): number {
  let h = 0;
  for (const c of id) h = (h * 31 + c.codePointAt(0)!) >>> 0;
  return h % n;
}
