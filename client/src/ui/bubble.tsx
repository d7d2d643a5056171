import { memo } from "preact/compat";
import type { Tick } from "../chat/marks.ts";
import type { Pending } from "../protocol/outbox.ts";
import type { Message } from "../protocol/wire.ts";
import { Avatar } from "./avatar.tsx";
import { Clock, OneTick, TwoTicks } from "./icons.tsx";
import { linkify } from "./linkify.tsx";
import { momentOf, timeOf } from "./words.ts";

/** Where a bubble stands in a run of one sender's messages. */
export interface Run {
  first: boolean;
  last: boolean;
}

const tickWords: Record<Tick, string> = { sent: "Sent", delivered: "Delivered", read: "Read" };

interface BubbleProps extends Run {
  message: Message;
  mine: boolean;
  /** In groups: the name above the first of a run, the face beside the last. */
  sender?: string | undefined;
  tick?: Tick | undefined;
}

export const Bubble = memo(function Bubble({ message, mine, sender, tick, first, last }: BubbleProps) {
  const recalled = message.recalled_at !== undefined;
  return (
    <li class={`${classes(mine, first, last)}${sender === undefined ? "" : " has-face"}`} data-seq={message.seq}>
      {sender !== undefined && last && <Avatar id={message.sender_id} name={sender} />}
      <div class="bubble">
        {sender && first && <span class="sender">{sender}</span>}
        <span class={recalled ? "body is-recalled" : "body"}>{recalled ? "Message recalled" : linkify(message.body)}</span>
        <span class="meta">
          {message.edited_at && !recalled && <span>edited </span>}
          <time dateTime={message.created_at} title={momentOf(message.created_at)}>
            {timeOf(message.created_at)}
          </time>
          {tick && <TickMark tick={tick} />}
        </span>
      </div>
    </li>
  );
});

function TickMark({ tick }: { tick: Tick }) {
  return (
    <span class={`ticks is-${tick}`} role="img" aria-label={tickWords[tick]} title={tickWords[tick]} data-tick={tick}>
      {tick === "sent" ? <OneTick /> : <TwoTicks />}
    </span>
  );
}

interface PendingProps extends Run {
  pending: Pending;
  onRetry: () => void;
  onDiscard: () => void;
}

/** A message that is not stored yet, or never will be. */
export function PendingBubble({ pending, first, last, onRetry, onDiscard }: PendingProps) {
  const refused = pending.refused !== undefined;
  return (
    <li class={`${classes(true, first, last)} ${refused ? "is-refused" : "is-pending"}`}>
      <div class="bubble">
        <span class="body">{linkify(pending.body)}</span>
        <span class="meta">
          <time>{timeOf(pending.at)}</time>
          <span class="ticks" role="img" aria-label={refused ? "Not sent" : "Waiting to be sent"} data-tick={refused ? "refused" : "pending"}>
            <Clock />
          </span>
        </span>
      </div>
      {refused && (
        <p class="refusal">
          Not sent. {pending.refused}{" "}
          <button type="button" class="link" onClick={onRetry}>
            Try again
          </button>{" "}
          <button type="button" class="link" onClick={onDiscard}>
            Delete
          </button>
        </p>
      )}
    </li>
  );
}

function classes(mine: boolean, first: boolean, last: boolean): string {
  return ["message", mine ? "is-mine" : "is-theirs", first && "is-first", last && "is-last"].filter(Boolean).join(" ");
}
