import { useState } from "preact/hooks";
import type { Chat, Room } from "../chat/chat.ts";
import { Avatar } from "./avatar.tsx";
import { Composer } from "./composer.tsx";
import { Back } from "./icons.tsx";
import { Members } from "./members.tsx";
import { MessageList } from "./message-list.tsx";
import { typingWords } from "./words.ts";

interface Props {
  chat: Chat;
  room: Room;
  attentive: boolean;
  /** How the connection is, when there is something to say. */
  connection: string | undefined;
  onBack: () => void;
}

/** One open conversation. Mounted anew for each, so its state is its own. */
export function Thread({ chat, room, attentive, connection, onBack }: Props) {
  const [unreadFrom] = useState(() => (room.unread > 0 ? room.read_seq + 1 : undefined));
  const title = chat.title(room);
  const typing = typingWords(chat.typists.in(room.id).map((id) => chat.people.name(id)));
  return (
    <section class="thread" aria-label={`Conversation with ${title}`}>
      <header class="bar">
        <button type="button" class="round only-phone" onClick={onBack} aria-label="Back to conversations">
          <Back />
        </button>
        <Avatar id={avatarId(chat, room)} name={title} group={room.kind === "group"} />
        <div class="bar-text">
          <h2>{title || " "}</h2>
          <p class={connection ? "subtitle is-connection" : "subtitle"}>{connection ?? <Subtitle chat={chat} room={room} />}</p>
        </div>
        {room.kind === "group" && <Members chat={chat} room={room} />}
      </header>
      <MessageList chat={chat} room={room} unreadFrom={unreadFrom} attentive={attentive} />
      <p class="typing" aria-live="polite">
        {typing && (
          <>
            <span class="dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            {typing}
          </>
        )}
      </p>
      <Composer chat={chat} room={room} offline={connection !== undefined} />
    </section>
  );
}

function Subtitle({ chat, room }: { chat: Chat; room: Room }) {
  if (room.kind === "group") return <>{room.members.length === 1 ? "1 member" : `${room.members.length} members`}</>;
  const other = chat.people.get(chat.others(room)[0] ?? chat.me.id);
  return <>{other ? `@${other.username}` : " "}</>;
}

/** People keep their colour wherever they appear; groups go by their own id. */
export function avatarId(chat: Chat, room: Room): string {
  return room.kind === "group" ? room.id : (chat.others(room)[0] ?? chat.me.id);
}
