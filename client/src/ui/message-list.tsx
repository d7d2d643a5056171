import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Chat, Room } from "../chat/chat.ts";
import type { Message } from "../protocol/wire.ts";
import { Bubble, PendingBubble, type Run } from "./bubble.tsx";
import { Down } from "./icons.tsx";
import { dayOf, sameDay } from "./words.ts";

// A run of one sender ends after a pause of this length.
const runPauseMs = 5 * 60_000;
const nearBottomPx = 80;
const nearTopPx = 400;

interface Props {
  chat: Chat;
  room: Room;
  /** The first seq that was unread when the conversation was opened. */
  unreadFrom: number | undefined;
  attentive: boolean;
}

/**
 * The messages of one conversation, oldest first. The scroller is laid out from
 * its bottom (column-reverse), so older pages grow upwards out of sight and
 * nothing that is being read moves.
 */
export function MessageList({ chat, room, unreadFrom, attentive }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [atBottom, setAtBottom] = useState(true);
  const messages = chat.messages(room.id);
  const pending = chat.pending(room.id);
  const newest = messages.at(-1)?.seq ?? 0;
  const page = chat.page(room.id);

  useSteadyView(scroller, newest + pending.length, atBottom);
  useEffect(() => {
    if (attentive && atBottom) chat.seen(room.id);
  });
  useEffect(() => {
    const el = scroller.current;
    const short = el !== null && el.scrollHeight <= el.clientHeight + nearTopPx;
    if (short && !page.trouble) void chat.older(room.id);
  });

  const scrolled = () => {
    const el = scroller.current!;
    setAtBottom(el.scrollTop > -nearBottomPx);
    const above = el.scrollHeight - el.clientHeight + el.scrollTop;
    if (above < nearTopPx && !page.trouble) void chat.older(room.id);
  };
  const toBottom = () => scroller.current?.scrollTo({ top: 0, behavior: "smooth" });

  return (
    <div class="messages">
      <div class="scroller" ref={scroller} onScroll={scrolled} tabIndex={0} role="region" aria-label="Messages">
        <ol class="log">
          <Top chat={chat} room={room} empty={messages.length + pending.length === 0} />
          {rows(chat, room, messages, unreadFrom)}
          {pending.map((p, i) => (
            <PendingBubble
              key={p.client_msg_id}
              pending={p}
              first={i === 0 && messages.at(-1)?.sender_id !== chat.me.id}
              last={i === pending.length - 1}
              onRetry={() => chat.retry(p)}
              onDiscard={() => chat.discard(p)}
            />
          ))}
        </ol>
      </div>
      {!atBottom && (
        <button type="button" class="to-bottom" onClick={toBottom} aria-label="Go to the newest message">
          <Down />
          {room.unread > 0 && <span class="badge">{room.unread}</span>}
        </button>
      )}
    </div>
  );
}

// Whoever has scrolled up keeps what they see when something arrives below.
function useSteadyView(scroller: { current: HTMLDivElement | null }, version: number, atBottom: boolean) {
  const height = useRef(0);
  useLayoutEffect(() => {
    const el = scroller.current!;
    if (atBottom) el.scrollTop = 0;
    else if (height.current > 0) el.scrollTop -= el.scrollHeight - height.current;
  }, [version]);
  useLayoutEffect(() => {
    height.current = scroller.current!.scrollHeight;
  });
}

function Top({ chat, room, empty }: { chat: Chat; room: Room; empty: boolean }) {
  const { running, trouble } = chat.page(room.id);
  if (trouble) {
    return (
      <li class="note">
        {trouble}{" "}
        <button type="button" class="link" onClick={() => void chat.older(room.id)}>
          Try again
        </button>
      </li>
    );
  }
  if (running || chat.hasOlder(room.id) || !chat.loaded(room.id)) return <li class="note is-quiet">Loading…</li>;
  const whom = room.kind === "group" ? "the group" : chat.title(room) || "each other";
  return <li class="note is-quiet">{empty ? `Nothing here yet. Say hello to ${whom}.` : "This is where it began."}</li>;
}

function rows(chat: Chat, room: Room, messages: readonly Message[], unreadFrom: number | undefined): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  messages.forEach((message, i) => {
    const previous = messages[i - 1];
    const newDay = !previous || !sameDay(previous.created_at, message.created_at);
    if (newDay) out.push(<Divider key={`day-${message.seq}`} text={dayOf(message.created_at)} />);
    if (message.seq === unreadFrom) out.push(<Divider key="unread" text="New" accent />);
    const mine = message.sender_id === chat.me.id;
    const run: Run = {
      first: newDay || message.seq === unreadFrom || !belongs(previous, message),
      last: !belongs(message, messages[i + 1]),
    };
    out.push(
      <Bubble
        key={message.id}
        message={message}
        mine={mine}
        sender={!mine && room.kind === "group" ? chat.people.name(message.sender_id) : undefined}
        tick={mine ? chat.tick(room, message.seq) : undefined}
        {...run}
      />,
    );
  });
  return out;
}

function belongs(a: Message | undefined, b: Message | undefined): boolean {
  if (!a || !b || a.sender_id !== b.sender_id || !sameDay(a.created_at, b.created_at)) return false;
  return Date.parse(b.created_at) - Date.parse(a.created_at) < runPauseMs;
}

function Divider({ text, accent = false }: { text: string; accent?: boolean }) {
  return (
    <li class={accent ? "divider is-accent" : "divider"} role="separator" aria-label={text}>
      <span>{text}</span>
    </li>
  );
}
