import type { Chat, Room } from "../chat/chat.ts";
import { Avatar } from "./avatar.tsx";
import type { FinderMode } from "./finder.tsx";
import { Leave, NewGroup, Search, Star } from "./icons.tsx";
import { avatarId } from "./thread.tsx";
import { shortWhen, typingWords } from "./words.ts";

interface Props {
  chat: Chat;
  selected: string | undefined;
  connection: string | undefined;
  onFind: (mode: FinderMode) => void;
}

const mac = /Mac|iPhone|iPad/.test(navigator.platform);

export function Sidebar({ chat, selected, connection, onFind }: Props) {
  const rooms = chat.list();
  return (
    <aside class="sidebar">
      <header class="bar">
        <Star />
        <div class="bar-text">
          <h1>Nova</h1>
          <p class={connection ? "subtitle is-connection" : "subtitle"} role="status">
            {connection?.split(",")[0] ?? `@${chat.me.username}`}
          </p>
        </div>
        <button type="button" class="round" onClick={() => onFind("group")} aria-label="New group" title="New group">
          <NewGroup />
        </button>
        <button type="button" class="round" onClick={() => void chat.signOut()} aria-label="Sign out" title="Sign out">
          <Leave />
        </button>
      </header>
      <button type="button" class="find" onClick={() => onFind("person")}>
        <Search />
        <span>Find a person</span>
        <kbd>{mac ? "⌘K" : "Ctrl K"}</kbd>
      </button>
      <nav aria-label="Conversations" onKeyDown={arrows}>
        <ul class="rooms">
          {rooms.map((room) => (
            <Row key={room.id} chat={chat} room={room} current={room.id === selected} />
          ))}
        </ul>
        {rooms.length === 0 && <Empty chat={chat} onFind={onFind} />}
      </nav>
    </aside>
  );
}

function Row({ chat, room, current }: { chat: Chat; room: Room; current: boolean }) {
  const title = chat.title(room);
  const newest = chat.newest(room.id);
  return (
    <li>
      <a class="room" href={`#/c/${room.id}`} aria-current={current ? "page" : undefined} data-room={room.id}>
        <Avatar id={avatarId(chat, room)} name={title} group={room.kind === "group"} />
        <span class="room-text">
          <span class="room-top">
            <span class="room-name">{title || " "}</span>
            <time class="room-when">{shortWhen(newest?.created_at ?? room.created_at)}</time>
          </span>
          <span class="room-bottom">
            <Preview chat={chat} room={room} />
            {room.unread > 0 && (
              <span class="badge" aria-label={`${room.unread} unread`}>
                {room.unread > 99 ? "99+" : room.unread}
              </span>
            )}
          </span>
        </span>
      </a>
    </li>
  );
}

function Preview({ chat, room }: { chat: Chat; room: Room }) {
  const typing = typingWords(chat.typists.in(room.id).map((id) => chat.people.name(id)));
  if (typing) return <span class="room-last is-typing">{room.kind === "group" ? typing : "typing…"}</span>;
  const waiting = chat.pending(room.id).at(-1);
  if (waiting) return <span class="room-last">You: {waiting.body}</span>;
  const newest = chat.newest(room.id);
  if (!newest) return <span class="room-last is-empty">No messages yet</span>;
  return (
    <span class="room-last">
      {who(chat, room, newest.sender_id)}
      {newest.recalled_at === undefined ? newest.body : "Message recalled"}
    </span>
  );
}

function who(chat: Chat, room: Room, sender: string): string {
  if (sender === chat.me.id) return "You: ";
  const name = room.kind === "group" ? chat.people.name(sender) : "";
  return name ? `${name}: ` : "";
}

function Empty({ chat, onFind }: { chat: Chat; onFind: (mode: FinderMode) => void }) {
  if (chat.trouble) {
    return (
      <div class="empty-list" role="alert">
        <p>{chat.trouble}</p>
        <button type="button" class="button is-quiet" onClick={() => chat.reloadList()}>
          Try again
        </button>
      </div>
    );
  }
  if (!chat.ready) return <Ghosts />;
  return (
    <div class="empty-list">
      <p>No conversations yet. Find someone by name, or start a group.</p>
      <button type="button" class="button is-quiet" onClick={() => onFind("person")}>
        Find a person
      </button>
    </div>
  );
}

// Where rows will be, while the list is on its way.
function Ghosts() {
  return (
    <div class="ghosts" aria-hidden="true">
      {[1, 2, 3].map((i) => (
        <div class="room" key={i}>
          <span class="avatar" />
          <span class="room-text">
            <span class="ghost-line" />
            <span class="ghost-line is-long" />
          </span>
        </div>
      ))}
    </div>
  );
}

// Up and down move through the list, as in a mail program.
function arrows(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0) return;
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>(".room")];
  const next = rows[rows.indexOf(document.activeElement as HTMLElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
