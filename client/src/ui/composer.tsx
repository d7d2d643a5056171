import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Chat, Room } from "../chat/chat.ts";
import { Arrow } from "./icons.tsx";

const maxBytes = 16 * 1024;
const warnBytes = maxBytes - 1024;

interface Props {
  chat: Chat;
  room: Room;
  offline: boolean;
}

/** Where one writes: Enter sends, Shift+Enter makes a line. */
export function Composer({ chat, room, offline }: Props) {
  const area = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(chat.drafts.get(room.id) ?? "");
  const bytes = text.length > warnBytes / 4 ? new TextEncoder().encode(text).length : 0;
  const sendable = text.trim() !== "" && bytes <= maxBytes;

  useLayoutEffect(() => grow(area.current!), [text]);
  useEffect(() => {
    // On touch screens focus would pull up the keyboard over the messages.
    if (!matchMedia("(pointer: coarse)").matches) area.current?.focus();
  }, []);

  const write = (value: string) => {
    setText(value);
    chat.keystroke(room.id, value);
  };
  const send = () => {
    if (!sendable) return;
    chat.send(room.id, text.trimEnd());
    chat.drafts.delete(room.id);
    setText("");
    area.current?.focus();
  };
  const keydown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        value={text}
        onInput={(event) => write(event.currentTarget.value)}
        onKeyDown={keydown}
        placeholder={offline ? "Message, sent when you are back" : "Message"}
        aria-label={`Message to ${chat.title(room)}`}
        enterkeyhint="send"
        autocomplete="off"
      />
      {bytes > warnBytes && (
        <span class={bytes > maxBytes ? "length is-over" : "length"} role="status">
          {maxBytes - bytes}
        </span>
      )}
      <button type="submit" class="send" disabled={!sendable} aria-label="Send">
        <Arrow />
      </button>
    </form>
  );
}

function grow(area: HTMLTextAreaElement): void {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}
